#include "initrd/image_description.h"

#include <algorithm>
#include <charconv>
#include <set>

namespace muster::image {
namespace {

using Words = std::vector<std::string>;

// Words with spaces in them stand in double quotes; nothing is special in there.
Result<Words> split(std::string_view line) {
    Words words;
    for (std::size_t i = 0; i < line.size();) {
        if (line[i] == ' ' || line[i] == '\t' || line[i] == '\r') {
            ++i;
        } else if (line[i] == '#') {
            break;
        } else if (line[i] == '"') {
            std::size_t end = line.find('"', i + 1);
            if (end == line.npos) return Error{"a \" without another one"};
            words.emplace_back(line.substr(i + 1, end - i - 1));
            i = end + 1;
        } else {
            std::size_t end = std::min(line.find_first_of(" \t\r", i), line.size());
            words.emplace_back(line.substr(i, end - i));
            i = end;
        }
    }
    return words;
}

std::string joined(const Words& words, std::size_t from) {
    std::string out;
    for (std::size_t i = from; i < words.size(); ++i)
        out += (i > from ? " " : "") + words[i];
    return out;
}

// The same for a shell. One word alone is what the shell reads; of several each stays one.
std::string command_line(const Words& words, std::size_t from) {
    std::string out;
    for (std::size_t i = from; i < words.size(); ++i) {
        bool whole = words.size() == from + 1 || words[i].find_first_of(" \t") == words[i].npos;
        out += i > from ? " " : "";
        if (!whole) out += '\'';
        for (char c : words[i])
            out += c == '\'' && !whole ? std::string("'\\''") : std::string(1, c);
        if (!whole) out += '\'';
    }
    return out;
}

bool plain_name(std::string_view name) {
    constexpr std::string_view letters =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    return !name.empty() && name.size() <= 64 && name.front() != '-' && name.front() != '.' &&
           name.find_first_not_of(letters) == name.npos;
}

// An absolute path without "." and "..", or empty and doubled components.
bool plain_path(std::string_view path) {
    if (path.size() < 2 || path.front() != '/' || path.find_first_of(":,\"\\ ") != path.npos)
        return false;
    while (!path.empty()) {
        path.remove_prefix(1);
        std::string_view part = path.substr(0, path.find('/'));
        if (part.empty() || part == "." || part == "..") return false;
        path.remove_prefix(part.size());
    }
    return true;
}

template <typename Number>
bool number(std::string_view text, Number& out, int base = 10) {
    auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), out, base);
    return wrong == std::errc() && end == text.data() + text.size() && !text.empty();
}

bool size_of(std::string_view text, std::uint64_t& out) {
    if (text.empty()) return false;
    int shift = text.back() == 'M' ? 20 : text.back() == 'G' ? 30 : 0;
    if (!shift || !number(text.substr(0, text.size() - 1), out)) return false;
    if (out == 0 || out > (std::uint64_t{1} << 44) >> shift) return false;
    out <<= shift;
    return true;
}

// Four numbers, and with PREFIX the length of the network behind a slash.
bool address(std::string_view text, bool prefix) {
    unsigned value = 0;
    if (prefix) {
        std::size_t slash = text.find('/');
        if (slash == text.npos || !number(text.substr(slash + 1), value) || value > 32)
            return false;
        text = text.substr(0, slash);
    }
    for (int part = 0; part < 4; ++part) {
        std::size_t size = part < 3 ? text.find('.') : text.size();
        if (size == text.npos || !number(text.substr(0, size), value) || value > 255) return false;
        text.remove_prefix(part < 3 ? size + 1 : size);
    }
    return text.empty();
}

// NAME=VALUE words from FROM on.
Result<std::map<std::string, std::string>> options(const Words& words, std::size_t from,
                                                   const std::set<std::string>& known) {
    std::map<std::string, std::string> out;
    for (std::size_t i = from; i < words.size(); ++i) {
        std::size_t equals = words[i].find('=');
        std::string name = words[i].substr(0, equals);
        if (equals == std::string::npos || !known.count(name))
            return Error{"\"" + words[i] + "\" is not known after " + words[0]};
        if (!out.emplace(name, words[i].substr(equals + 1)).second)
            return Error{name + " is given twice"};
    }
    return out;
}

Words comma_list(std::string_view text) {
    Words out;
    while (!text.empty()) {
        std::size_t size = std::min(text.find(','), text.size());
        if (size) out.emplace_back(text.substr(0, size));
        text.remove_prefix(std::min(size + 1, text.size()));
    }
    return out;
}

struct Reader {
    const std::string& folder;
    Description out = {};
    std::set<std::string> seen = {}; // words that may come only once
    int line = 0;

    Result<> once(const std::string& word) {
        if (!seen.insert(word).second) return Error{word + " is given twice"};
        return {};
    }

    Result<> layout(const Words& words) {
        if (words.size() != 2 || (words[1] != "disk" && words[1] != "memory"))
            return Error{"layout is disk or memory"};
        out.in_memory = words[1] == "memory";
        return once("layout");
    }

    Result<> size(const Words& words) {
        if (words.size() != 2 || !size_of(words[1], out.size))
            return Error{"size is a number with M or G behind it"};
        return once("size");
    }

    Result<> user(const Words& words) {
        if (words.size() < 2 || !plain_name(words[1])) return Error{"user needs a name"};
        auto given = options(words, 2, {"uid", "groups", "shell", "home", "password"});
        if (!given) return given.error();
        auto& values = *given;
        for (const User& other : out.users)
            if (other.name == words[1]) return Error{"user " + words[1] + " is given twice"};
        User user;
        user.name = words[1];
        user.given = true;
        user.uid = user.name == "root" ? 0 : 1000 + static_cast<std::uint32_t>(out.users.size());
        if (values.count("uid") && !number(values["uid"], user.uid))
            return Error{"uid=" + values["uid"] + " is no number"};
        user.home = user.name == "root" ? "/root" : "/home/" + user.name;
        if (values.count("home")) user.home = values["home"];
        if (values.count("shell")) user.shell = values["shell"];
        if (!plain_path(user.home) || !plain_path(user.shell))
            return Error{"home and shell are absolute paths"};
        if (values.count("password")) user.password = values["password"];
        if (user.password.find(':') != user.password.npos)
            return Error{"password is as in shadow(5): crypted, or empty"};
        user.groups = comma_list(values["groups"]);
        for (const std::string& group : user.groups)
            if (!plain_name(group)) return Error{"\"" + group + "\" is no name of a group"};
        out.users.push_back(std::move(user));
        return {};
    }

    Result<> key(const Words& words) {
        if (words.size() < 4 || !plain_name(words[1]))
            return Error{"key needs a user and a line of authorized_keys"};
        out.keys.push_back({words[1], joined(words, 2), line});
        return {};
    }

    Result<> network(const Words& words) {
        if (words.size() < 3 || !plain_name(words[1]) || words[1].size() > 15)
            return Error{"network needs an interface and dhcp or address=ADDRESS/PREFIX"};
        Network one;
        one.interface = words[1];
        one.dhcp = words[2] == "dhcp";
        auto given = options(words, one.dhcp ? 3 : 2, {"address", "gateway", "dns"});
        if (!given) return given.error();
        auto& values = *given;
        one.address = values["address"];
        one.gateway = values["gateway"];
        one.dns = comma_list(values["dns"]);
        if (one.dhcp ? !values.empty() && !(one.address + one.gateway).empty()
                     : !address(one.address, true))
            return Error{"network needs either dhcp or address=ADDRESS/PREFIX"};
        if (!one.gateway.empty() && !address(one.gateway, false))
            return Error{"gateway=" + one.gateway + " is no address"};
        for (const std::string& server : one.dns)
            if (!address(server, false)) return Error{"dns=" + server + " is no address"};
        out.networks.push_back(std::move(one));
        return {};
    }

    Result<> service(const Words& words) {
        if (words.size() < 2 || !plain_name(words[1])) return Error{"service needs a name"};
        out.services.push_back({words[1], command_line(words, 2)});
        return {};
    }

    Result<> file(const Words& words) {
        HostFile one;
        if (words.size() < 3 || words.size() > 4 || !plain_path(words[2]))
            return Error{"file needs a name here, an absolute one there, and maybe a mode"};
        if (words.size() == 4 && (!number(words[3], one.mode, 8) || one.mode > 07777))
            return Error{"mode " + words[3] + " is no octal number of permissions"};
        one.host = words[1].front() == '/' ? words[1] : folder + "/" + words[1];
        one.guest = words[2];
        out.files.push_back(std::move(one));
        return {};
    }

    Result<> keep(const Words& words) {
        for (std::size_t i = 1; i < words.size(); ++i) {
            if (!plain_path(words[i])) return Error{words[i] + " is no absolute path"};
            out.keep.push_back(words[i]);
        }
        if (words.size() < 2) return Error{"keep needs folders"};
        return {};
    }

    Result<> take(const Words& words) {
        const std::string& word = words[0];
        if (word == "layout") return layout(words);
        if (word == "size") return size(words);
        if (word == "user") return user(words);
        if (word == "key") return key(words);
        if (word == "network") return network(words);
        if (word == "service") return service(words);
        if (word == "file") return file(words);
        if (word == "keep") return keep(words);
        if (word == "packages" || word == "repository") {
            auto& list = word == "packages" ? out.packages : out.repositories;
            if (words.size() < 2) return Error{word + " needs a value"};
            list.insert(list.end(), words.begin() + 1, words.end());
            return {};
        }
        if (word == "kernel") {
            out.kernel += (out.kernel.empty() ? "" : " ") + joined(words, 1);
            return {};
        }
        if (word == "hostname") {
            if (words.size() != 2 || !plain_name(words[1])) return Error{"hostname needs a name"};
            out.hostname = words[1];
            return once("hostname");
        }
        return Error{"\"" + word + "\" is not known"};
    }
};

// What an image in memory keeps: /etc in any case, and no folder that lies in another one.
void keep_etc(std::vector<std::string>& folders) {
    folders.push_back("/etc");
    std::vector<std::string> all = std::move(folders);
    folders.clear();
    for (const std::string& folder : all) {
        bool in_another = std::any_of(all.begin(), all.end(), [&](const std::string& other) {
            return folder.starts_with(other + "/");
        });
        if (!in_another && std::find(folders.begin(), folders.end(), folder) == folders.end())
            folders.push_back(folder);
    }
}

} // namespace

Result<Description> parse_description(std::string_view text, const std::string& name,
                                      const std::string& folder) {
    Reader reader{folder};
    while (!text.empty()) {
        ++reader.line;
        std::size_t size = std::min(text.find('\n'), text.size());
        auto words = split(text.substr(0, size));
        text.remove_prefix(std::min(size + 1, text.size()));
        Result<> done;
        if (!words)
            done = words.error();
        else if (!words->empty())
            done = reader.take(*words);
        if (!done) return done.error().with_context(name + ":" + std::to_string(reader.line));
    }
    Description& out = reader.out;
    auto whole = [&](const std::string& what) { return Error{name + ": " + what}; };
    if (out.packages.empty()) return whole("no packages");
    if (!out.in_memory && !out.keep.empty()) return whole("keep is for layout memory");
    if (!out.size) out.size = out.in_memory ? std::uint64_t{16} << 20 : std::uint64_t{256} << 20;
    if (out.in_memory) keep_etc(out.keep);
    return std::move(out);
}

} // namespace muster::image
