#include "services/presence/path_facts.h"

#include <dirent.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <set>

#include "init/dataspace/engine.h"
#include "init/preserves/text_writer.h"
#include "init/preserves/utf8.h"
#include "services/presence/retry.h"

namespace muster::services {

using dataspace::Handle;
using dataspace::Turn;
using preserves::Value;

namespace {

constexpr uint32_t usual_events = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |
                                  IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
constexpr uint32_t about_itself =
    IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT | IN_Q_OVERFLOW;
constexpr size_t deepest = 64; // components of a path

std::string_view kind_of(const std::string& path) {
    struct stat status {};
    if (stat(path.c_str(), &status) != 0) return {};
    switch (status.st_mode & S_IFMT) {
    case S_IFREG:
        return "file";
    case S_IFDIR:
        return "directory";
    case S_IFIFO:
        return "fifo";
    case S_IFSOCK:
        return "socket";
    case S_IFCHR:
        return "char";
    case S_IFBLK:
        return "block";
    default:
        return {};
    }
}

// One path that somebody asks for.
struct Place {
    std::string path; // as they write it
    std::vector<std::string> parts;
    bool presence = false; // <path …> is asked for
    bool entries = false;  // <directory-entry …>
    bool changes = false;  // <path-changed …>
    std::set<int> watches; // of directories on the way
    int parent = -1;       // that of the last of these
    int own = -1;          // that of itself, for its entries
    Value said;            // the fact <path …>
    Handle handle = 0;
    std::map<std::string, Handle> names;

    bool wanted() const { return presence || entries || changes; }
    bool on_the_way(const std::string& name) const {
        return std::find(parts.begin(), parts.end(), name) != parts.end();
    }
};

class PathFacts final : public Counted {
  public:
    PathFacts(PresenceContext context, Ref<MountTable> mounts)
        : context_(std::move(context)), mounts_(std::move(mounts)), retry_(context_) {}

    void serve(Turn& turn, Interests& interests) {
        facet_ = Ref<dataspace::Facet>(&turn.current());
        turn.actor().on_forget([self = Ref<PathFacts>(this)] { self->close(); });
        for (auto [label, member] :
             {std::pair("path", &Place::presence), std::pair("directory-entry", &Place::entries),
              std::pair("path-changed", &Place::changes)}) {
            auto change = [self = Ref<PathFacts>(this), member = member](bool begin) {
                return [self, member, begin](Turn& t, const Value& path) {
                    self->change(t, path, member, begin);
                };
            };
            interests.add(label, {change(true), change(false)});
        }
    }

  private:
    void change(Turn& turn, const Value& name, bool Place::*member, bool begin) {
        if (!name.valid()) return; // all paths that there are
        auto text = name.view().as_string();
        if (!text || text->empty() || (*text)[0] != '/') {
            if (begin) context_.report(turn, preserves::to_text(name) + " is not an absolute path");
            return;
        }
        std::string path(*text);
        auto found = places_.find(path);
        if (found == places_.end()) {
            if (!begin) return;
            auto place = std::make_unique<Place>();
            place->path = path;
            for (size_t at = 0; at < path.size();) {
                size_t end = std::min(path.find('/', at), path.size());
                if (end > at) place->parts.push_back(path.substr(at, end - at));
                at = end + 1;
            }
            if (place->parts.size() > deepest || path.find('\0') != std::string::npos)
                return context_.report(turn, preserves::to_text(name) + ": too long a way");
            found = places_.emplace(path, std::move(place)).first;
        }
        Place& place = *found->second;
        place.*member = begin;
        if (open(turn)) look(turn, place);
        if (place.wanted()) return;
        places_.erase(found);
        if (places_.empty()) close();
    }

    bool open(Turn& turn) {
        if (watch_) return true;
        auto failed = [&](const Error& error) {
            watch_nothing();
            inotify_.reset();
            look_later(turn, "paths are not watched: " + error.message);
            return false;
        };
        if (!inotify_) inotify_ = Fd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
        if (!inotify_) return failed(system_error("inotify_init1", errno));
        Ref<PathFacts> self(this);
        dataspace::Engine& engine = turn.engine();
        auto watch = context_.loop.watch(inotify_.get(), EPOLLIN, [self, &engine](uint32_t) {
            engine.external(self->facet_, [self](Turn& t) { self->read_events(t); });
        });
        if (!watch) return failed(watch.error());
        watch_ = *std::move(watch);
        // Without /proc there is nothing to be mounted that we could hear of.
        auto subscribed = mounts_->subscribe([self, &engine] {
            engine.external(self->facet_, [self](Turn& t) { self->look_at_all(t); });
        });
        if (subscribed) subscription_ = *subscribed;
        return true;
    }

    void look_later(Turn& turn, const std::string& why) {
        refused_ = true;
        retry_.later(turn, why, facet_, [self = Ref<PathFacts>(this)](Turn& t) {
            self->refused_ = false;
            if (self->open(t)) self->look_at_all(t);
            if (!self->refused_) self->retry_.done();
        });
    }

    void close() {
        retry_.done();
        watch_nothing();
    }

    // The descriptor stays for the next time: the kernel takes tens of milliseconds to close one
    // that has just had watches.
    void watch_nothing() {
        watch_.cancel();
        users_.clear();
        if (subscription_ != 0) mounts_->unsubscribe(std::exchange(subscription_, 0));
    }

    int add_watch(Place& place, const std::string& directory, uint32_t more) {
        int watch =
            inotify_add_watch(inotify_.get(), directory.c_str(), usual_events | IN_MASK_ADD | more);
        if (watch < 0) return -1;
        users_[watch].insert(&place);
        return watch;
    }

    void drop_watch(Place& place, int watch) {
        auto users = users_.find(watch);
        if (users == users_.end()) return;
        users->second.erase(&place);
        if (!users->second.empty()) return;
        users_.erase(users);
        inotify_rm_watch(inotify_.get(), watch);
    }

    void look_at_all(Turn& turn) {
        for (auto& [path, place] : places_)
            look(turn, *place);
    }

    // Watches first, then sees what is there: so nothing is missed in between.
    void look(Turn& turn, Place& place) {
        std::set<int> before = std::exchange(place.watches, {});
        place.own = place.parent = -1;
        if (place.wanted()) {
            std::string directory = "/";
            for (size_t i = 0; i < place.parts.size(); ++i) {
                bool parent = i + 1 == place.parts.size();
                uint32_t more = parent && place.changes ? uint32_t{IN_CLOSE_WRITE} : 0;
                int watch = add_watch(place, directory, more);
                if (watch < 0) {
                    Error error = system_error(directory, errno);
                    if (error.exhausted())
                        look_later(turn, error.message);
                    else if (error.number != ENOENT && error.number != ENOTDIR)
                        context_.report(turn, error.message);
                    break;
                }
                place.watches.insert(watch);
                if (parent) place.parent = watch;
                directory += (i > 0 ? "/" : "") + place.parts[i];
            }
            if (place.entries) {
                place.own = add_watch(place, place.path, 0);
                if (place.own >= 0) place.watches.insert(place.own);
            }
        }
        for (int watch : before)
            if (place.watches.count(watch) == 0) drop_watch(place, watch);
        std::string_view kind = place.presence ? kind_of(place.path) : std::string_view();
        Value fact;
        if (!kind.empty())
            fact =
                preserves::record("path", {preserves::string(place.path), preserves::symbol(kind)});
        if (fact.valid() && !(place.said.valid() && fact == place.said))
            place.handle = turn.replace(context_.machine, place.handle, fact);
        else if (!fact.valid())
            turn.retract(std::exchange(place.handle, 0));
        place.said = fact;
        list(turn, place);
    }

    void list(Turn& turn, Place& place) {
        std::map<std::string, Handle> before = std::exchange(place.names, {});
        DIR* directory = place.own >= 0 ? opendir(place.path.c_str()) : nullptr;
        if (directory) {
            while (const dirent* entry = readdir(directory)) {
                std::string name = entry->d_name;
                if (name == "." || name == "..") continue;
                if (place.names.size() == max_directory_entries) {
                    context_.report(turn, place.path + ": too many names for <directory-entry …>");
                    break;
                }
                auto known = before.find(name);
                if (known != before.end()) {
                    place.names.insert(before.extract(known));
                    continue;
                }
                appear(turn, place, name);
            }
            closedir(directory);
        }
        for (const auto& [name, handle] : before)
            turn.retract(handle);
    }

    void appear(Turn& turn, Place& place, const std::string& name) {
        if (!preserves::is_utf8(name) || place.names.count(name) ||
            place.names.size() >= max_directory_entries)
            return;
        place.names[name] = turn.assert_(
            context_.machine, preserves::record("directory-entry", {preserves::string(place.path),
                                                                    preserves::string(name)}));
    }

    void read_events(Turn& turn) {
        std::set<std::string> to_look_at;
        alignas(inotify_event) char buffer[4096];
        for (;;) {
            ssize_t count = inotify_ ? read(inotify_.get(), buffer, sizeof buffer) : -1;
            if (count <= 0) break;
            for (const char* at = buffer; at < buffer + count;) {
                auto* event = reinterpret_cast<const inotify_event*>(at);
                at += sizeof(inotify_event) + event->len;
                handle(turn, *event, event->len > 0 ? std::string(event->name) : "", to_look_at);
            }
        }
        for (const std::string& path : to_look_at)
            if (auto found = places_.find(path); found != places_.end()) look(turn, *found->second);
    }

    void handle(Turn& turn, const inotify_event& event, const std::string& name,
                std::set<std::string>& to_look_at) {
        if (event.mask & IN_Q_OVERFLOW) {
            for (const auto& [path, place] : places_)
                to_look_at.insert(path);
            return;
        }
        auto users = users_.find(event.wd);
        if (users == users_.end()) return;
        for (Place* place : users->second) {
            bool on_the_way = (event.mask & about_itself) || place->on_the_way(name);
            if (event.wd == place->own && !(event.mask & about_itself)) {
                if (event.mask & (IN_CREATE | IN_MOVED_TO)) appear(turn, *place, name);
                if (event.mask & (IN_DELETE | IN_MOVED_FROM))
                    if (auto gone = place->names.extract(name)) turn.retract(gone.mapped());
            }
            if (!on_the_way) continue;
            if (event.mask & ~uint32_t{IN_CLOSE_WRITE}) to_look_at.insert(place->path);
            if (place->changes && (event.mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) &&
                event.wd == place->parent && name == place->parts.back())
                turn.message(context_.machine,
                             preserves::record("path-changed", {preserves::string(place->path)}));
        }
        if (event.mask & IN_IGNORED) users_.erase(users); // the kernel has dropped it
    }

    PresenceContext context_;
    Ref<MountTable> mounts_;
    Ref<dataspace::Facet> facet_;
    Fd inotify_;
    Watch watch_;
    size_t subscription_ = 0;
    std::map<std::string, std::unique_ptr<Place>> places_;
    std::map<int, std::set<Place*>> users_; // by watch
    Retry retry_;
    bool refused_ = false; // something, since all was looked at last
};

} // namespace

void serve_path_facts(Turn& turn, Interests& interests, const PresenceContext& context,
                      Ref<MountTable> mounts) {
    make_ref<PathFacts>(context, std::move(mounts))->serve(turn, interests);
}

} // namespace muster::services
