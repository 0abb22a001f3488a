#include "init/config/file_tree.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

namespace muster::config {

namespace {

constexpr uint32_t interest = IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
                              IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

// How many times 16 KiB of events are taken before others get their turn.
constexpr int reads_per_round = 16;

bool is_script(std::string_view name) {
    return name.size() > 3 && name.front() != '.' && name.ends_with(".pr");
}

bool is_below(std::string_view path, std::string_view directory) {
    return path.size() > directory.size() && path.starts_with(directory) &&
           path[directory.size()] == '/';
}

bool exists(const std::string& path) {
    struct stat about;
    return lstat(path.c_str(), &about) == 0;
}

bool is_directory(const std::string& path) {
    struct stat about;
    return stat(path.c_str(), &about) == 0 && S_ISDIR(about.st_mode);
}

std::string absolute(std::string_view path) {
    std::string result(path);
    if (!result.starts_with('/')) {
        char here[PATH_MAX];
        if (getcwd(here, sizeof here)) {
            if (result == ".") result.clear();
            while (result.starts_with("./"))
                result.erase(0, 2);
            result = result.empty() ? here : std::string(here) + "/" + result;
        }
    }
    while (result.size() > 1 && result.back() == '/')
        result.pop_back();
    return result;
}

std::string join_path(const std::string& directory, std::string_view name) {
    std::string result = directory;
    if (!result.ends_with('/')) result += '/';
    result += name;
    return result;
}

} // namespace

bool PathLess::operator()(std::string_view a, std::string_view b) const {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
        auto rank = [](char c) { return c == '/' ? 0 : static_cast<unsigned char>(c); };
        return rank(x) < rank(y);
    });
}

void FileTree::Changes::merge(Changes later) {
    for (const std::string& path : later.changed) {
        gone.erase(path);
        moved_away.erase(path);
    }
    for (const Paths* paths : {&later.gone, &later.moved_away}) {
        for (const std::string& path : *paths) {
            changed.erase(path);
            moved_away.erase(path);
        }
    }
    changed.merge(later.changed);
    gone.merge(later.gone);
    moved_away.merge(later.moved_away);
}

FileTree::FileTree(std::string_view path) : root_(absolute(path)) {}

Result<> FileTree::open() {
    inotify_.reset(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (!inotify_) return system_error("inotify_init1", errno);
    return {};
}

FileTree::Changes FileTree::rescan() {
    Paths before = std::move(files_);
    files_.clear();
    changes_ = {};
    drop_all();
    find_root();
    for (const std::string& path : before) {
        if (files_.count(path) == 0) changes_.gone.insert(path);
    }
    return take_changes();
}

void FileTree::drop_all() {
    for (const auto& [path, wd] : directories_) {
        if (wd >= 0) inotify_rm_watch(inotify_.get(), wd);
    }
    if (anchor_ >= 0) inotify_rm_watch(inotify_.get(), anchor_);
    anchor_ = -1;
    directories_.clear();
    by_watch_.clear();
    problems_.clear();
}

// Watches what is above the root, then the root. Watching first and looking second, so that
// nothing comes into being unseen in between.
void FileTree::find_root() {
    while (watch_anchor()) {
    }
    struct stat about;
    if (stat(root_.c_str(), &about) == 0) {
        if (S_ISDIR(about.st_mode))
            scan(root_);
        else
            take_in(root_);
    } else if (errno != ENOENT && errno != ENOTDIR) {
        problems_[root_] = system_error("cannot be read", errno).message;
    }
}

// Watches the parent of the root, or of the first directory on the way to it that is missing.
// True if that one has come meanwhile: look again.
bool FileTree::watch_anchor() {
    std::string above = "/";
    std::string name = root_.substr(1);
    size_t slash = 0;
    while ((slash = root_.find('/', slash + 1)) != std::string::npos) {
        std::string next = root_.substr(0, slash);
        if (!is_directory(next)) break;
        above = next;
        name = root_.substr(slash + 1);
    }
    name = name.substr(0, name.find('/'));
    bool last = join_path(above, name) == root_;
    if (anchor_ >= 0 && anchor_path_ != above) inotify_rm_watch(inotify_.get(), anchor_);
    anchor_path_ = above;
    anchor_name_ = name;
    if (name.empty() || !inotify_) return false; // the root is "/"
    anchor_ = inotify_add_watch(inotify_.get(), above.c_str(), interest);
    if (anchor_ < 0) return errno == ENOENT || errno == ENOTDIR;
    return !last && is_directory(join_path(above, name));
}

int FileTree::add_watch(const std::string& path) {
    if (!inotify_) return -1;
    int wd = inotify_add_watch(inotify_.get(), path.c_str(), interest);
    if (wd >= 0) return wd;
    int problem = errno;
    if (problem == ENOENT || problem == ENOTDIR) return -1; // gone again
    problems_[path] = problem == ENOSPC ? "no more inotify watches (fs.inotify.max_user_watches): "
                                          "changes in it will not be noticed"
                                        : system_error("cannot be watched", problem).message;
    return -1;
}

// Takes in a directory and what is below it.
void FileTree::scan(const std::string& top) {
    std::vector<std::pair<std::string, size_t>> todo{{top, 1}};
    while (!todo.empty()) {
        auto [path, depth] = std::move(todo.back());
        todo.pop_back();
        if (directories_.count(path) != 0) drop(path);
        problems_.erase(path);
        if (depth > max_depth) {
            problems_[path] = "more than 32 directories deep: not read";
            continue;
        }
        int wd = add_watch(path);
        if (wd >= 0) {
            auto other = by_watch_.find(wd);
            if (wd == anchor_ || other != by_watch_.end()) {
                problems_[path] = "is the same directory as " +
                                  (wd == anchor_ ? anchor_path_ : other->second) + ": not read";
                continue;
            }
            by_watch_[wd] = path;
        }
        directories_[path] = wd;
        DIR* stream = opendir(path.c_str());
        if (!stream) {
            problems_[path] = system_error("cannot be read", errno).message;
            continue;
        }
        while (const dirent* entry = readdir(stream)) {
            std::string_view name = entry->d_name;
            if (name.starts_with('.')) continue;
            std::string child = join_path(path, name);
            if (entry->d_type == DT_DIR || (entry->d_type != DT_REG && is_directory(child))) {
                todo.emplace_back(std::move(child), depth + 1);
            } else if (is_script(name)) {
                take_in(child);
            }
        }
        closedir(stream);
    }
}

// Forgets a directory and what is below it.
void FileTree::drop(const std::string& top) {
    auto in_it = [&](const std::string& path) { return path == top || is_below(path, top); };
    for (auto at = directories_.begin(); at != directories_.end();) {
        if (!in_it(at->first)) {
            ++at;
            continue;
        }
        if (at->second >= 0) {
            inotify_rm_watch(inotify_.get(), at->second);
            by_watch_.erase(at->second);
        }
        at = directories_.erase(at);
    }
    for (auto at = files_.begin(); at != files_.end();) {
        if (!in_it(*at)) {
            ++at;
            continue;
        }
        changes_.changed.erase(*at);
        changes_.gone.insert(*at);
        at = files_.erase(at);
    }
    std::erase_if(problems_, [&](const auto& entry) { return in_it(entry.first); });
}

void FileTree::take_in(const std::string& path) {
    files_.insert(path);
    changes_.changed.insert(path);
    changes_.gone.erase(path);
    changes_.moved_away.erase(path);
    unreadable_.erase(path);
}

FileTree::Changes FileTree::read_events() {
    changes_ = {};
    moves_.clear();
    alignas(inotify_event) char buffer[16'384];
    for (int i = 0; i < reads_per_round; ++i) {
        ssize_t size = read(inotify_.get(), buffer, sizeof buffer);
        if (size <= 0) break;
        for (ssize_t at = 0; at < size;) {
            const auto* raw = reinterpret_cast<const inotify_event*>(buffer + at);
            handle({raw->wd, raw->mask, raw->cookie, raw->len > 0 ? raw->name : ""});
            at += static_cast<ssize_t>(sizeof(inotify_event) + raw->len);
        }
    }
    if (overflow_ || check_root_) {
        overflow_ = check_root_ = false;
        Changes before = std::move(changes_);
        before.merge(rescan());
        return before;
    }
    // What came back before we looked is not gone; it counts when its writer is done.
    for (Paths* paths : {&changes_.gone, &changes_.moved_away}) {
        for (auto at = paths->begin(); at != paths->end();) {
            if (files_.count(*at) == 0 && !exists(*at)) {
                ++at;
                continue;
            }
            files_.insert(*at);
            at = paths->erase(at);
        }
    }
    return take_changes();
}

FileTree::Changes FileTree::take_changes() {
    present_ = !directories_.empty() || files_.count(root_) != 0;
    if (!present_)
        problems_.try_emplace(root_, "is not there yet; waiting for it");
    else if (directories_.empty())
        problems_.erase(root_);
    return std::exchange(changes_, {});
}

void FileTree::handle(const Event& event) {
    if (event.mask & IN_Q_OVERFLOW) {
        overflow_ = true;
        return;
    }
    if (event.wd == anchor_) {
        if (event.mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED)) check_root_ = true;
        if (event.name != anchor_name_) return;
        // A file as the root is seen here; a directory tells of itself, but for being made, moved
        // and unlinked.
        if (directories_.empty() && !(event.mask & IN_ISDIR) &&
            join_path(anchor_path_, anchor_name_) == root_ && !is_directory(root_)) {
            handle_file(root_, event);
        } else if (event.mask & ~(IN_ATTRIB | IN_ISDIR) || problems_.count(root_) != 0) {
            check_root_ = true;
        }
        return;
    }
    auto found = by_watch_.find(event.wd);
    if (found == by_watch_.end()) return;
    std::string directory = found->second;
    if (event.mask & IN_IGNORED) {
        if (directory == root_)
            check_root_ = true;
        else
            drop(directory);
        return;
    }
    if (event.mask & IN_MOVE_SELF && directory == root_) check_root_ = true;
    if (event.name.empty() || event.name.front() == '.') return;
    std::string path = join_path(directory, event.name);
    if (event.mask & IN_ISDIR) {
        bool again = event.mask & IN_ATTRIB && problems_.count(path) != 0;
        if (again || event.mask & (IN_CREATE | IN_MOVED_TO)) scan(path);
        if (event.mask & (IN_DELETE | IN_MOVED_FROM)) drop(path);
        return;
    }
    if (event.mask & (IN_CREATE | IN_MOVED_TO) && is_directory(path)) { // a link to one
        scan(path);
        return;
    }
    if (event.mask & (IN_DELETE | IN_MOVED_FROM) && directories_.count(path) != 0) {
        drop(path);
        return;
    }
    if (is_script(event.name)) handle_file(path, event);
}

void FileTree::handle_file(const std::string& path, const Event& event) {
    if (event.mask & IN_MOVED_TO) {
        // Renamed within what is watched: the old name goes in the same step.
        auto from = moves_.find(event.cookie);
        if (from != moves_.end() && changes_.moved_away.erase(from->second) != 0) {
            changes_.gone.insert(from->second);
        }
    }
    if (event.mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) {
        take_in(path);
    } else if (event.mask & IN_CREATE) {
        // Whoever creates a file to write it will close it. A link is complete at once.
        struct stat about;
        if (lstat(path.c_str(), &about) == 0 && (!S_ISREG(about.st_mode) || about.st_nlink > 1)) {
            take_in(path);
        }
    } else if (event.mask & IN_ATTRIB) {
        if (unreadable_.count(path) != 0) take_in(path);
    } else if (event.mask & (IN_DELETE | IN_MOVED_FROM)) {
        changes_.changed.erase(path);
        unreadable_.erase(path);
        if (files_.erase(path) == 0) return;
        if (event.mask & IN_DELETE) {
            changes_.gone.insert(path);
        } else {
            changes_.moved_away.insert(path);
            moves_[event.cookie] = path;
        }
    }
}

} // namespace muster::config
