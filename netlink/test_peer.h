// For the tests: the other side of netlink's connection, and folders that look like a system's.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "init/base/catch.h"
#include "init/preserves/text_writer.h"
#include "netlink/publisher.h"

namespace muster::netlink::testing {

// A new folder, removed with everything in it.
class Tree {
  public:
    Tree() {
        char name[] = "/tmp/netlink-test.XXXXXX";
        REQUIRE(::mkdtemp(name) != nullptr);
        root_ = name;
    }
    ~Tree() {
        std::error_code ignored;
        std::filesystem::remove_all(root_, ignored);
    }
    const std::string& root() const { return root_; }
    void file(const std::string& path, const std::string& content) const {
        std::filesystem::create_directories((root_ + path).substr(0, (root_ + path).rfind('/')));
        std::ofstream(root_ + path, std::ios::binary) << content;
    }
    void link(const std::string& path, const std::string& target) const {
        std::filesystem::create_directories((root_ + path).substr(0, (root_ + path).rfind('/')));
        std::filesystem::remove(root_ + path);
        std::filesystem::create_symlink(target, root_ + path);
    }
    void remove(const std::string& path) const { std::filesystem::remove_all(root_ + path); }
    void rename(const std::string& from, const std::string& to) const {
        std::filesystem::rename(root_ + from, root_ + to);
    }
    // A device in sys/, listed in its class.
    void device(const std::string& devpath, const std::string& subsystem,
                const std::string& attribute) const {
        file("/sys" + devpath + "/uevent", attribute);
        link("/sys" + devpath + "/subsystem", "../../class/" + subsystem);
        std::string name = devpath;
        std::replace(name.begin(), name.end(), '/', '!');
        link("/sys/class/" + subsystem + "/" + name, "../.." + devpath);
    }

  private:
    std::string root_;
};

// The server's part: gives capabilities and keeps what is said to them, as text.
class Peer {
  public:
    Peer() {
        int ends[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
        client_.emplace(Fd(ends[0]), Fd());
        other_ = Fd(ends[1]);
        machine_ = client_->export_entity(handler());
        config_ = client_->export_entity(handler());
    }

    // The end of netlink, once.
    Fd other_end() { return std::move(other_); }
    Client& client() { return *client_; }

    // What the server asserts at netlink's entity 0.
    void give_capabilities() {
        client_->assert_(client_->root(),
                         preserves::dictionary({{"machine", preserves::embedded(machine_)},
                                                {"config", preserves::embedded(config_)}}));
        REQUIRE(client_->flush().ok());
    }

    // Handles what has arrived.
    void receive() {
        const auto received = client_->receive();
        REQUIRE(received.ok());
        REQUIRE(*received);
    }

    // All that is asserted now, sorted.
    std::vector<std::string> asserted(const std::string& beginning = "") const {
        std::vector<std::string> texts;
        for (const auto& [handle, text] : asserted_) {
            if (text.starts_with(beginning)) texts.push_back(text);
        }
        std::sort(texts.begin(), texts.end());
        return texts;
    }
    bool has(const std::string& text) const { return count(text) == 1; }
    size_t count(const std::string& text) const {
        size_t n = 0;
        for (const auto& [handle, asserted] : asserted_)
            n += asserted == text;
        return n;
    }
    // What happened since the last call: "+record", "-record", "!message".
    std::vector<std::string> happened() { return std::exchange(happened_, {}); }

  private:
    Client::Handler handler() {
        return {.asserted =
                    [this](const preserves::Value& value, Client::Handle handle) {
                        asserted_[handle] = preserves::to_text(value);
                        happened_.push_back("+" + asserted_[handle]);
                    },
                .retracted =
                    [this](Client::Handle handle) {
                        happened_.push_back("-" + asserted_[handle]);
                        asserted_.erase(handle);
                    },
                .message =
                    [this](const preserves::Value& body) {
                        happened_.push_back("!" + preserves::to_text(body));
                    }};
    }

    std::optional<Client> client_;
    Fd other_;
    Ref<protocol::Reference> machine_;
    Ref<protocol::Reference> config_;
    std::map<Client::Handle, std::string> asserted_;
    std::vector<std::string> happened_;
};

// Netlink's end alone, with a Publisher that leads to the peer.
struct Connection {
    Peer peer;
    Client client;
    std::optional<Publisher> publisher;

    Connection() : client(peer.other_end(), Fd()) {
        client.export_entity(
            {.asserted =
                 [this](const preserves::Value& dictionary, Client::Handle) {
                     auto* machine = dictionary.view().get("machine").as_embedded();
                     publisher.emplace(client, Ref<protocol::Reference>(
                                                   static_cast<protocol::Reference*>(machine)));
                 },
             .retracted = {},
             .message = {}});
        peer.give_capabilities();
        REQUIRE(client.receive().ok());
        REQUIRE(publisher.has_value());
    }
    // Lets what was said arrive.
    std::vector<std::string> happened() {
        while (client.unsent()) {
            REQUIRE(client.flush().ok());
            peer.receive();
        }
        return peer.happened();
    }
};

using Strings = std::vector<std::string>;

} // namespace muster::netlink::testing
