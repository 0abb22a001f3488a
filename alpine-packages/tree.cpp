#include "alpine-packages/tree.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>

#include "alpine-packages/files.h"
#include "alpine-packages/version.h"

namespace muster::apk {
namespace {

// "./a//b/" and "/a/b" both become "a/b".
Result<std::string> guest_path(std::string_view guest) {
    std::string_view shown = guest;
    while (guest.starts_with('/'))
        guest.remove_prefix(1);
    std::string normal;
    if (std::string why = refuse_path(guest, normal); !why.empty())
        return Error{"\"" + std::string(shown) + "\": " + why};
    return normal;
}

std::string owner_name(const std::string& owner) {
    return owner.empty() ? "an own file" : "package " + owner;
}

Result<std::string> read_link(const std::string& path) {
    std::string target(PATH_MAX, '\0');
    ssize_t size = readlink(path.c_str(), target.data(), target.size());
    if (size < 0) return system_error("readlink " + path, errno);
    target.resize(static_cast<std::size_t>(size));
    return target;
}

// "name:password:id:…" lines, as in passwd and group.
std::map<std::string, std::uint32_t, std::less<>> read_ids(std::string_view text) {
    std::map<std::string, std::uint32_t, std::less<>> ids;
    while (!text.empty()) {
        std::size_t size = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, size);
        text.remove_prefix(std::min(size + 1, text.size()));
        std::size_t first = line.find(':');
        std::size_t second = first == line.npos ? line.npos : line.find(':', first + 1);
        if (second == line.npos) continue;
        std::string_view number = line.substr(second + 1);
        number = number.substr(0, std::min(number.find(':'), number.size()));
        std::uint32_t id = 0;
        auto [end, wrong] = std::from_chars(number.data(), number.data() + number.size(), id);
        if (wrong == std::errc() && end == number.data() + number.size())
            ids.emplace(line.substr(0, first), id);
    }
    return ids;
}

} // namespace

// Where GUEST really lies when folders on the way are links (such as /bin on merged systems).
Result<std::string> Tree::place(const std::string& guest) const {
    auto path = guest_path(guest);
    if (!path) return path;
    std::string done, rest = *path;
    for (int links = 0; links < 40;) {
        std::size_t slash = rest.find('/');
        if (slash == std::string::npos) return done + rest;
        std::string parent = done + rest.substr(0, slash);
        rest.erase(0, slash + 1);
        auto found = nodes_.find(parent);
        if (found == nodes_.end() || !S_ISLNK(found->second.mode)) {
            done = parent + "/";
            continue;
        }
        ++links;
        std::string target = found->second.target;
        if (target.find("..") != std::string::npos)
            return Error{guest + ": goes through the link " + parent + " -> " + target};
        if (target.starts_with('/')) done.clear();
        auto whole = guest_path(done + target + "/" + rest);
        if (!whole) return whole.error().with_context(guest);
        done.clear();
        rest = *whole;
    }
    return Error{guest + ": too many links on the way"};
}

Result<> Tree::put(const std::string& guest, Node node) {
    auto path = place(guest);
    if (!path) return path.error();
    node.mtime = mtime_;
    auto found = nodes_.find(*path);
    if (found != nodes_.end() && S_ISDIR(found->second.mode) != S_ISDIR(node.mode))
        return Error{guest + ": a folder and a file of the same name"};
    nodes_.insert_or_assign(*path, std::move(node));
    return {};
}

Result<> Tree::add_folder(const std::string& guest, std::uint32_t mode) {
    Node node;
    node.mode = S_IFDIR | (mode & 07777);
    return put(guest, std::move(node));
}

Result<> Tree::add_link(const std::string& target, const std::string& guest) {
    Node node;
    node.mode = S_IFLNK | 0777;
    node.target = target;
    return put(guest, std::move(node));
}

Result<> Tree::add_text(const std::string& text, const std::string& guest, std::uint32_t mode) {
    Node node;
    node.mode = S_IFREG | (mode & 07777);
    node.data = store_.emplace_back(text);
    return put(guest, std::move(node));
}

Result<> Tree::give(const std::string& guest, const std::string& user, const std::string& group) {
    auto path = place(guest);
    if (!path) return path.error();
    auto found = nodes_.find(*path);
    if (found == nodes_.end()) return Error{guest + ": is not there"};
    found->second.user = user;
    if (!group.empty()) found->second.group = group;
    return {};
}

Result<> Tree::remove(const std::string& guest) {
    auto path = guest_path(guest);
    if (!path) return path.error();
    std::erase_if(nodes_, [&](const auto& item) {
        return item.first == *path || item.first.starts_with(*path + "/");
    });
    return {};
}

Result<> Tree::add_host(const std::string& host, const std::string& guest, int mode) {
    struct Item {
        std::string host, guest;
    };
    std::vector<Item> work = {{host, guest}};
    while (!work.empty()) {
        Item item = std::move(work.back());
        work.pop_back();
        struct stat st {};
        // what is named on the command line may be a link; what lies in a folder is kept as one
        int status =
            item.host == host ? stat(item.host.c_str(), &st) : lstat(item.host.c_str(), &st);
        if (status != 0) return system_error("stat " + item.host, errno);
        Result<> done;
        if (S_ISDIR(st.st_mode)) {
            auto names = list_folder(item.host);
            if (!names) return names.error();
            auto path = place(item.guest.empty() || item.guest == "/" ? "x" : item.guest);
            if (!path) return path.error();
            bool root = item.guest.empty() || item.guest == "/";
            if (!root && !nodes_.count(*path)) done = add_folder(item.guest, 0755);
            for (const std::string& name : *names)
                work.push_back({item.host + "/" + name, item.guest + "/" + name});
        } else if (S_ISREG(st.st_mode)) {
            auto data = read_file(item.host);
            if (!data) return data.error();
            std::uint32_t bits = (st.st_mode & 0111) ? 0755 : 0644;
            if (mode >= 0) bits = static_cast<std::uint32_t>(mode);
            done = add_text(*data, item.guest, bits);
        } else if (S_ISLNK(st.st_mode)) {
            auto target = read_link(item.host);
            if (!target) return target.error();
            done = add_link(*target, item.guest);
        } else {
            return Error{item.host + ": is no file, folder or link"};
        }
        if (!done) return done.error().with_context("add " + item.host);
    }
    return {};
}

bool Tree::replaces(const PackageInfo& package, const std::string& other) const {
    auto found = std::find_if(packages_.begin(), packages_.end(),
                              [&](const Package& p) { return p.info.name == other; });
    for (const std::string& word : package.replaces) {
        auto dependency = parse_dependency(word);
        if (!dependency || dependency->name != other) continue;
        if (found == packages_.end() || dependency->allows(found->info.version)) return true;
    }
    return false;
}

Result<> Tree::merge(const std::string& path, Node node, const PackageInfo& package) {
    auto [place, fresh] = nodes_.try_emplace(path, node);
    if (fresh) return {};
    Node& there = place->second;
    if (S_ISDIR(there.mode) && S_ISDIR(node.mode)) {
        // the one that says more than the usual wins, whatever the order
        if ((there.mode & 07777) == 0755 && there.user == "root") there = std::move(node);
        return {};
    }
    auto other = std::find_if(packages_.begin(), packages_.end(),
                              [&](const Package& p) { return p.info.name == there.owner; });
    if (S_ISDIR(there.mode) == S_ISDIR(node.mode) && other != packages_.end()) {
        if (replaces(other->info, package.name)) return {};
        bool same_origin = !package.origin.empty() && package.origin == other->info.origin;
        if (replaces(package, there.owner) || same_origin) {
            there = std::move(node);
            return {};
        }
    }
    return Error{path + ": is in " + owner_name(there.owner) + " and in " +
                 owner_name(package.name)};
}

Result<> Tree::add_package(Package added) {
    packages_.push_back(std::move(added));
    Package& package = packages_.back();
    for (const TarEntry& entry : package.files) {
        Node node;
        node.mode = entry.mode;
        node.uid = entry.uid;
        node.gid = entry.gid;
        node.user = entry.user;
        node.group = entry.group;
        node.mtime = entry.mtime;
        node.owner = package.info.name;
        node.data = entry.data;
        switch (entry.kind) {
        case FileKind::file:
            node.mode |= S_IFREG;
            break;
        case FileKind::folder:
            node.mode |= S_IFDIR;
            break;
        case FileKind::symlink:
            node.mode |= S_IFLNK;
            node.target = entry.target;
            break;
        case FileKind::hardlink: {
            auto target = std::find_if(package.files.begin(), package.files.end(),
                                       [&](const TarEntry& e) { return e.path == entry.target; });
            if (target == package.files.end())
                return Error{package.info.full_name() + ": " + entry.path +
                             ": a hard link to a file that was left out"};
            node.mode = target->mode | S_IFREG;
            node.data = target->data;
            node.hard_links = package.info.name + ":" + entry.target;
            if (auto first = nodes_.find(entry.target);
                first != nodes_.end() && first->second.owner == package.info.name)
                first->second.hard_links = node.hard_links;
            break;
        }
        }
        for (const auto& [name, value] : entry.attributes)
            notes_.push_back(package.info.full_name() + ": " + entry.path +
                             ": left out the extended attribute " + name);
        if (auto done = merge(entry.path, std::move(node), package.info); !done)
            return done.error();
    }
    return {};
}

Result<> Tree::add_applets(std::string_view list, const std::string& target) {
    while (!list.empty()) {
        std::size_t size = std::min(list.find('\n'), list.size());
        std::string line(list.substr(0, size));
        list.remove_prefix(std::min(size + 1, list.size()));
        if (line.empty()) continue;
        auto path = place(line);
        if (!path) return path.error().with_context("applet list");
        if (nodes_.count(*path)) continue;
        if (auto done = add_link(target, line); !done) return done.error();
    }
    return {};
}

Result<> Tree::add_busybox_applets() {
    constexpr std::string_view folder = "etc/busybox-paths.d/";
    std::vector<std::pair<std::string, std::string_view>> lists;
    for (const auto& [path, node] : nodes_)
        if (path.starts_with(folder) && S_ISREG(node.mode))
            lists.emplace_back(path.substr(folder.size()), node.data);
    if (lists.empty()) return Error{"no list of busybox applets in /etc/busybox-paths.d"};
    for (const auto& [name, list] : lists) {
        std::string program = "bin/" + name;
        if (!find_file(program)) return Error{"applets of /" + program + ", which is not there"};
        if (auto done = add_applets(list, "/" + program); !done) return done.error();
    }
    return {};
}

const Node* Tree::find_file(const std::string& path) const {
    auto found = nodes_.find(path);
    return found != nodes_.end() && S_ISREG(found->second.mode) ? &found->second : nullptr;
}

Result<> Tree::finish() {
    std::vector<std::string> missing;
    for (const auto& [path, node] : nodes_) {
        for (std::size_t slash = path.find('/'); slash != std::string::npos;
             slash = path.find('/', slash + 1)) {
            std::string parent = path.substr(0, slash);
            auto found = nodes_.find(parent);
            if (found == nodes_.end())
                missing.push_back(parent);
            else if (!S_ISDIR(found->second.mode))
                return Error{path + " (" + owner_name(node.owner) + "): lies below " + parent +
                             ", which is no folder (" + owner_name(found->second.owner) + ")"};
        }
    }
    for (const std::string& parent : missing)
        if (auto done = add_folder(parent, 0755); !done) return done.error();

    const Node* passwd = find_file("etc/passwd");
    const Node* group = find_file("etc/group");
    auto users = read_ids(passwd ? passwd->data : "");
    auto groups = read_ids(group ? group->data : "");
    users.try_emplace("root", 0);
    groups.try_emplace("root", 0);
    for (auto& [path, node] : nodes_) {
        if (auto found = users.find(node.user); found != users.end()) node.uid = found->second;
        if (auto found = groups.find(node.group); found != groups.end()) node.gid = found->second;
    }
    return {};
}

} // namespace muster::apk
