#include "initrd/image_settings.h"

#include <sys/stat.h>

#include <map>

#include "initrd/quoted.h"

namespace muster::image {
namespace {

using apk::Tree;
using Fields = std::vector<std::string>;

// passwd, shadow and group: lines of fields with colons between, found by the first.
class Table {
  public:
    Table(const Tree& tree, const std::string& path) {
        auto found = tree.nodes().find(path);
        std::string_view text = found != tree.nodes().end() ? found->second.data : "";
        mode_ = found != tree.nodes().end() ? found->second.mode & 07777 : 0644;
        while (!text.empty()) {
            std::size_t size = std::min(text.find('\n'), text.size());
            if (size) lines_.push_back(split(text.substr(0, size)));
            text.remove_prefix(std::min(size + 1, text.size()));
        }
    }
    Fields* find(const std::string& name) {
        for (Fields& line : lines_)
            if (line[0] == name) return &line;
        return nullptr;
    }
    Fields* with_number(const std::string& number) { // an id
        for (Fields& line : lines_)
            if (line.size() > 2 && line[2] == number) return &line;
        return nullptr;
    }
    void add(Fields line) { lines_.push_back(std::move(line)); }
    Result<> store(Tree& tree, const std::string& path) const {
        std::string text;
        for (const Fields& line : lines_) {
            for (std::size_t i = 0; i < line.size(); ++i)
                text += (i ? ":" : "") + line[i];
            text += '\n';
        }
        auto found = tree.nodes().find(path);
        std::string user, group;
        if (found != tree.nodes().end()) user = found->second.user, group = found->second.group;
        if (auto done = tree.add_text(text, path, mode_); !done) return done;
        return user.empty() ? Result<>{} : tree.give(path, user, group);
    }

  private:
    static Fields split(std::string_view line) {
        Fields out = {""};
        for (char c : line)
            if (c == ':')
                out.emplace_back();
            else
                out.back() += c;
        return out;
    }
    std::vector<Fields> lines_;
    std::uint32_t mode_;
};

Result<> add_users(Tree& tree, const Description& description) {
    if (description.users.empty()) return {};
    Table passwd(tree, "etc/passwd"), shadow(tree, "etc/shadow"), group(tree, "etc/group");
    for (const User& user : description.users) {
        std::string id = std::to_string(user.uid);
        if (!passwd.find(user.name)) {
            if (passwd.with_number(id))
                return Error{"user " + user.name + ": uid " + id + " is taken"};
            if (!group.find(user.name)) {
                if (group.with_number(id))
                    return Error{"user " + user.name + ": gid " + id + " is taken"};
                group.add({user.name, "x", id, ""});
            }
            passwd.add({user.name, "x", id, (*group.find(user.name))[2], user.name, user.home,
                        user.shell});
            if (auto done = tree.add_folder(user.home, 0700); !done) return done;
        }
        if (!shadow.find(user.name))
            shadow.add({user.name, "*", "0", "0", "99999", "7", "", "", ""});
        (*shadow.find(user.name))[1] = user.password;
        for (const std::string& name : user.groups) {
            Fields* line = group.find(name);
            if (!line || line->size() < 4)
                return Error{"user " + user.name + ": there is no group " + name};
            std::string& members = (*line)[3];
            members += (members.empty() ? "" : ",") + user.name;
        }
    }
    if (auto done = passwd.store(tree, "etc/passwd"); !done) return done;
    if (auto done = shadow.store(tree, "etc/shadow"); !done) return done;
    if (auto done = group.store(tree, "etc/group"); !done) return done;
    for (const User& user : description.users)
        if (user.uid)
            if (auto done = tree.give(user.home, user.name, user.name); !done) return done;
    return {};
}

Result<> add_keys(Tree& tree, const Description& description) {
    Table passwd(tree, "etc/passwd");
    std::map<std::string, std::string> texts;
    for (const Key& key : description.keys)
        texts[key.user] += key.text + "\n";
    for (const auto& [user, text] : texts) {
        Fields* line = passwd.find(user);
        if (!line || line->size() < 6) return Error{"key " + user + ": there is no such user"};
        std::string folder = (*line)[5] + "/.ssh", file = folder + "/authorized_keys";
        if (auto done = tree.add_folder(folder, 0700); !done) return done;
        if (auto done = tree.add_text(text, file, 0600); !done) return done;
        for (const std::string& path : {folder, file})
            if (auto done = tree.give(path, user, ""); !done) return done;
    }
    return {};
}

constexpr const char* services = "/etc/muster/services/";

Result<> add_network(Tree& tree, const Network& network) {
    std::string name = "network-" + network.interface, command;
    std::string up = "ip link set " + network.interface + " up";
    if (network.dhcp) {
        command = up + "; exec udhcpc -f -R -i " + network.interface;
    } else {
        command = "ip address replace " + network.address + " dev " + network.interface + "; " + up;
        if (!network.gateway.empty())
            command +=
                " && ip route replace default via " + network.gateway + " dev " + network.interface;
    }
    std::string text = "# " + network.interface + ", as the image's description says.\n" +
                       "? <runs-on machine> [\n    let ?link = pattern <interface \"" +
                       network.interface + "\" _>\n    <require-service <daemon " + name +
                       ">>\n    <depends-on <daemon " + name + "> <present $link>>\n    <daemon " +
                       name + " " + (network.dhcp ? "" : "<one-shot ") + "\"" + command + "\"" +
                       (network.dhcp ? "" : ">") + ">\n]\n";
    return tree.add_text(text, services + name + ".pr", 0644);
}

// Whether COMMAND is one program and its words, which the shell can make way for. All else stays
// with the shell that reads it: lists, redirections, variables.
bool is_one_program(const std::string& command) {
    std::string first = command.substr(0, command.find(' '));
    return command.find_first_of(";&|<>()$`\n{}") == command.npos &&
           first.find('=') == first.npos && first != "exec" && first != "cd";
}

Result<> add_service(Tree& tree, const Service& service) {
    std::string text =
        "# As the image's description says.\n<require-service <daemon " + service.name + ">>\n";
    if (!service.command.empty())
        text += "<daemon " + service.name + " " +
                quoted((is_one_program(service.command) ? "exec " : "") + service.command) + ">\n";
    return tree.add_text(text, services + service.name + ".pr", 0644);
}

} // namespace

Result<> add_settings(Tree& tree, const Description& description, const std::string& root_uuid) {
    if (auto done = add_users(tree, description); !done) return done;
    if (auto done = add_keys(tree, description); !done) return done;
    std::string resolv, repositories;
    for (const Network& network : description.networks) {
        if (auto done = add_network(tree, network); !done) return done;
        for (const std::string& server : network.dns)
            resolv += "nameserver " + server + "\n";
    }
    for (const Service& service : description.services)
        if (auto done = add_service(tree, service); !done) return done;
    for (const std::string& repository : description.repositories)
        repositories += repository + "\n";
    std::string fstab = description.in_memory ? "" : "UUID=" + root_uuid + " / ext4 defaults 0 1\n";
    if (auto done = tree.add_text(fstab, "/etc/fstab", 0644); !done) return done;
    if (auto done = tree.add_text(description.hostname + "\n", "/etc/hostname", 0644); !done)
        return done;
    if (auto done = tree.add_text(repositories, "/etc/apk/repositories", 0644); !done) return done;
    if (!resolv.empty())
        if (auto done = tree.add_text(resolv, "/etc/resolv.conf", 0644); !done) return done;
    for (const HostFile& file : description.files)
        if (auto done = tree.add_host(file.host, file.guest, file.mode); !done) return done;
    return {};
}

} // namespace muster::image
