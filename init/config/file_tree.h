// The script files under a path, and what happens to them (inotify(7)).
//
// The path may be a directory, watched with everything below it, or one file, or nothing yet: then
// its nearest existing parent is watched until it appears. In directories only `*.pr` counts, and
// names that begin with `.` do not. A file counts when it is complete: when its writer closes it,
// when it is moved or linked to its place. Symbolic links are followed; what a link points to
// elsewhere is not watched.
//
// Nothing here reads the files or knows what they are for.
#pragma once

#include <sys/types.h>

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

#include "init/base/fd.h"
#include "init/base/result.h"

namespace muster::config {

// Depth first, by name: "a/x" before "a.pr" before "b/x".
struct PathLess {
    using is_transparent = void;
    bool operator()(std::string_view a, std::string_view b) const;
};
using Paths = std::set<std::string, PathLess>;

class FileTree {
  public:
    struct Changes {
        Paths changed; // new, or complete again, or to be looked at again
        Paths gone;
        Paths moved_away; // to a place that is not here; editors put them back at once
        bool empty() const { return changed.empty() && gone.empty() && moved_away.empty(); }
        // Adds what happened after this.
        void merge(Changes later);
    };

    // Watches nothing yet. A relative path is taken from the current directory.
    explicit FileTree(std::string_view path);

    // Makes the inotify descriptor; without it there is the first scan and no more.
    Result<> open();
    int fd() const { return inotify_.get(); } // readable when `read_events` has something to do

    // Looks at everything again; `changed` is all that is there. Also what an overflow of the
    // kernel's queue leads to.
    Changes rescan();
    // Takes what the kernel has reported. Never blocks.
    Changes read_events();

    // Notices no more changes. Long before this goes away if that must not take long: the kernel
    // takes tens of milliseconds after the last watch.
    void leave() { drop_all(); }

    // A change of its permissions makes this file `changed`.
    void look_again(const std::string& path) { unreadable_.insert(path); }

    const std::string& path() const { return root_; }
    // The path is there and was scanned.
    bool present() const { return present_; }
    // What stands in the way now, by path: directories that cannot be read or watched, or a path
    // that is not there.
    const std::map<std::string, std::string>& problems() const { return problems_; }

    // How many directories deep it looks.
    static constexpr size_t max_depth = 32;

  private:
    struct Event {
        int wd;
        uint32_t mask;
        uint32_t cookie;
        std::string name;
    };

    void find_root();
    bool watch_anchor();
    int add_watch(const std::string& path);
    void scan(const std::string& directory);
    void drop(const std::string& directory);
    void drop_all();
    void handle(const Event& event);
    void handle_file(const std::string& path, const Event& event);
    void take_in(const std::string& path);
    Changes take_changes();

    Fd inotify_;
    std::string root_; // absolute, no slash at its end
    bool present_ = false;
    int anchor_ = -1; // watch on the parent of the root, or on the nearest there is
    std::string anchor_path_;
    std::string anchor_name_; // what is waited for or watched in it
    bool check_root_ = false;
    bool overflow_ = false;

    std::map<std::string, int> directories_; // path to watch, -1 if that failed
    std::unordered_map<int, std::string> by_watch_;
    Paths files_;
    std::set<std::string> unreadable_;
    std::map<std::string, std::string> problems_;
    std::map<uint32_t, std::string> moves_; // by cookie, within one batch
    Changes changes_;
};

} // namespace muster::config
