#include "services/daemon/listen_sockets.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <map>

#include "init/base/catch.h"
#include "init/preserves/text_reader.h"

using namespace muster;
using namespace muster::services;

namespace {

preserves::Value value(const std::string& text) {
    auto parsed = preserves::parse_text(text);
    INFO(text);
    REQUIRE(parsed.ok());
    return *parsed;
}

// A folder of its own, removed at the end.
struct Folder {
    std::string path = "/tmp/muster-listen-XXXXXX";
    Folder() { REQUIRE(::mkdtemp(path.data()) != nullptr); }
    ~Folder() {
        for (const char* file : {"/s", "/t", "/f"})
            ::unlink((path + file).c_str());
        ::rmdir(path.c_str());
    }
    std::string quoted(const std::string& name) const { return "\"" + path + name + "\""; }
};

int connect_to(const std::string& path, int type = SOCK_STREAM) {
    Fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    if (path.starts_with("@")) address.sun_path[0] = '\0';
    socklen_t size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
    return ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), size) == 0 ? 0 : errno;
}

std::string wrong(const std::string& text) {
    auto checked = ListenSockets::check(value(text));
    REQUIRE_FALSE(checked.ok());
    return checked.error().message;
}

} // namespace

TEST_CASE("listen sockets: unix, shared while somebody holds it, gone with the last") {
    Folder folder;
    ListenSockets sockets;
    auto socket = value("<unix " + folder.quoted("/s") + " {mode: \"0640\" name: \"front\"}>");
    auto first = sockets.open(socket);
    REQUIRE(first.ok());
    CHECK((*first)->name() == "front");
    CHECK((*first)->address() == socket);
    struct stat about {};
    REQUIRE(::stat((folder.path + "/s").c_str(), &about) == 0);
    CHECK((about.st_mode & 07777) == 0640);
    CHECK((::fcntl((*first)->fd(), F_GETFL) & O_NONBLOCK) == 0);
    CHECK((::fcntl((*first)->fd(), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(connect_to(folder.path + "/s") == 0);

    auto second = sockets.open(socket);
    REQUIRE(second.ok());
    CHECK((*second)->fd() == (*first)->fd());
    *first = {};
    CHECK(connect_to(folder.path + "/s") == 0);
    *second = {};
    CHECK(connect_to(folder.path + "/s") == ENOENT);
}

TEST_CASE("listen sockets: a stale file is replaced, one in use is an error") {
    Folder folder;
    ListenSockets ours, others;
    auto socket = value("<unix " + folder.quoted("/s") + ">");
    auto first = ours.open(socket);
    REQUIRE(first.ok());
    auto second = others.open(socket);
    REQUIRE_FALSE(second.ok());
    CHECK(second.error().message ==
          "<unix " + folder.quoted("/s") + ">: somebody else listens there");
    CHECK(connect_to(folder.path + "/s") == 0);
    ::rename((folder.path + "/s").c_str(), (folder.path + "/t").c_str());
    *first = {}; // what is left at /t is a file that nobody listens to
    CHECK(others.open(value("<unix " + folder.quoted("/t") + ">")).ok());
}

TEST_CASE("listen sockets: datagrams, abstract names, fifos") {
    Folder folder;
    ListenSockets sockets;
    auto datagram = sockets.open(value("<unix " + folder.quoted("/s") + " {type: datagram}>"));
    REQUIRE(datagram.ok());
    CHECK((*datagram)->name() == "s");
    CHECK(connect_to(folder.path + "/s", SOCK_DGRAM) == 0);
    std::string name = "@muster-test-" + std::to_string(::getpid());
    auto abstract = sockets.open(value("<unix \"" + name + "\" {type: seqpacket}>"));
    REQUIRE(abstract.ok());
    CHECK(connect_to(name, SOCK_SEQPACKET) == 0);
    auto fifo = sockets.open(value("<fifo " + folder.quoted("/f") + ">"));
    REQUIRE(fifo.ok());
    Fd writer(::open((folder.path + "/f").c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC));
    REQUIRE(::write(writer.get(), "x", 1) == 1);
    char byte = 0;
    CHECK(::read((*fifo)->fd(), &byte, 1) == 1);
}

TEST_CASE("listen sockets: TCP and UDP") {
    ListenSockets sockets;
    // Port numbers have to be chosen: one that is free now.
    Fd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    REQUIRE(::bind(probe.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
    ::getsockname(probe.get(), reinterpret_cast<sockaddr*>(&address), &size);
    probe.reset();
    std::string port = std::to_string(ntohs(address.sin_port));
    auto list = sockets.open_all(value("[<tcp \"localhost\" " + port + "> <udp \"127.0.0.1\" " +
                                       port + " {name: \"datagrams\"}>]"));
    REQUIRE(list.ok());
    REQUIRE(list->size() == 2);
    CHECK((*list)[0]->name() == "tcp");
    CHECK((*list)[1]->name() == "datagrams");
    Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    CHECK(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
    // One that cannot be opened: none of the list is.
    Folder folder;
    CHECK_FALSE(sockets
                    .open_all(value("[<unix " + folder.quoted("/s") + "> <unix " +
                                    folder.quoted("/no/such/s") + ">]"))
                    .ok());
    CHECK(connect_to(folder.path + "/s") == ENOENT);
}

TEST_CASE("listen sockets: other options are the same socket, also for a successor") {
    Folder folder;
    std::map<std::string, Fd> kept;
    auto keeper = [&kept] {
        return FdKeeper{[&kept](const std::string& name) {
                            auto found = kept.find(name);
                            return found == kept.end() ? Fd() : Fd(::dup(found->second.get()));
                        },
                        [&kept](const std::string& name, int fd) -> Result<> {
                            kept[name] = Fd(::dup(fd));
                            return {};
                        },
                        [&kept](const std::string& name) { kept.erase(name); }};
    };
    auto inode = [](const Ref<ListenSocket>& socket) {
        struct stat about {};
        REQUIRE(::fstat(socket->fd(), &about) == 0);
        return about.st_ino;
    };
    auto mode = [&folder] {
        struct stat about {};
        return ::stat((folder.path + "/s").c_str(), &about) == 0 ? about.st_mode & 0777 : 0;
    };
    auto with_mode = [&](const std::string& octal) {
        return value("<unix " + folder.quoted("/s") + " {mode: \"" + octal + "\"}>");
    };
    ino_t number = 0;
    {
        ListenSockets sockets;
        sockets.set_keeper(keeper());
        auto first = sockets.open(with_mode("0600"));
        REQUIRE(first.ok());
        number = inode(*first);
        // Opened before the one before is closed.
        auto second = sockets.open(with_mode("0640"));
        REQUIRE(second.ok());
        CHECK(inode(*second) == number);
        *first = {};
        CHECK(mode() == 0640);
        CHECK(kept.size() == 1);
        CHECK(connect_to(folder.path + "/s") == 0);
        // Without a word: as when it is killed.
        sockets.set_keeper({});
        ::rename((folder.path + "/s").c_str(), (folder.path + "/t").c_str());
    }
    ::rename((folder.path + "/t").c_str(), (folder.path + "/s").c_str());
    REQUIRE(kept.size() == 1);
    ListenSockets sockets;
    sockets.set_keeper(keeper());
    auto third = sockets.open(with_mode("0666"));
    REQUIRE(third.ok());
    CHECK(inode(*third) == number);
    CHECK(mode() == 0666);
    // Somebody has removed it: it is made anew.
    *third = {};
    CHECK(kept.empty());
    CHECK(connect_to(folder.path + "/s") == ENOENT);
    auto fourth = sockets.open(with_mode("0666"));
    REQUIRE(fourth.ok());
    ::unlink((folder.path + "/s").c_str());
    auto fifth = sockets.open(with_mode("0600"));
    REQUIRE(fifth.ok());
    CHECK(inode(*fifth) != inode(*fourth));
    CHECK(connect_to(folder.path + "/s") == 0);
}

TEST_CASE("listen sockets: what is wrong is named") {
    CHECK(wrong("7") == "7 is not <tcp \"HOST\" PORT>, <udp \"HOST\" PORT>, <unix \"PATH\"> or "
                        "<fifo \"PATH\">");
    CHECK(wrong("<tcp \"www.example\" 80>") ==
          "\"www.example\" is not an IPv4 or IPv6 address, or \"localhost\"");
    CHECK(wrong("<tcp \"::\" 0>") == "0 is not a port");
    CHECK(wrong("<unix \"s\">") == "\"s\" is not an absolute path");
    CHECK(wrong("<fifo \"@s\">") == "\"@s\" is not an absolute path");
    CHECK(wrong("<unix \"/s\" {mood: 1}>") == "unknown field mood");
    CHECK(wrong("<unix \"/s\" {mode: 600}>") == "mode: 600 is not an octal number in a string");
    CHECK(wrong("<unix \"/s\" {type: raw}>") == "type: raw is not stream, datagram or seqpacket");
    CHECK(wrong("<tcp \"::\" 80 {mode: \"600\"}>") == "unknown field mode");
    CHECK(wrong("<tcp \"::\" 80 {name: \"a:b\"}>") == "name: \"a:b\" is not a name");
    CHECK(wrong("<tcp \"::\" 80 {} {}>").starts_with("<tcp"));
}
