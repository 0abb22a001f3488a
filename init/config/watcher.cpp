#include "init/config/watcher.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "init/base/files.h"
#include "init/config/file_tree.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "init/preserves/utf8.h"

namespace muster::config {

using dataspace::CapRef;
using dataspace::Facet;
using dataspace::Handle;
using dataspace::KeepAlive;
using dataspace::Turn;

namespace {

// How long a file that was moved away may be absent before it counts as gone.
constexpr uint64_t absence = 100 * millisecond;

// When a file that could not be read for want of descriptors or memory is tried again.
constexpr uint64_t again_after = 1 * second;

// How many different run-time errors of one file are told apart.
constexpr size_t max_errors = 20;

enum class Reading : uint8_t { good, missing, bad, for_now };

// Reads a regular file of a sensible size; never blocks on anything else.
// Why a file that commands the system is not to be believed, or nullptr.
const char* distrust(const struct stat& about) {
    if (about.st_uid != 0 && about.st_uid != geteuid()) return "does not belong to root";
    if (about.st_mode & S_IWOTH) return "can be written by everybody";
    if ((about.st_mode & S_IWGRP) && about.st_gid != 0) return "can be written by its group";
    return nullptr;
}

Reading read_script(const std::string& path, bool guarded, std::string& text,
                    std::string& problem) {
    struct stat about;
    auto failed = [&](const char* what) {
        if (errno == ENOENT || errno == ENOTDIR) return Reading::missing;
        bool passing = errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == EIO;
        problem = system_error(what, errno).message;
        return passing ? Reading::for_now : Reading::bad;
    };
    // Opening a device may do something to it: look first.
    if (stat(path.c_str(), &about) != 0) return failed("cannot be read");
    if (!S_ISREG(about.st_mode)) {
        problem = "is not a regular file";
        return Reading::bad;
    }
    Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
    if (!fd) return failed("cannot be read");
    if (fstat(fd.get(), &about) != 0 || !S_ISREG(about.st_mode)) {
        problem = "is not a regular file";
        return Reading::bad;
    }
    if (const char* reason = guarded ? distrust(about) : nullptr) {
        problem = std::string(reason) + ": it is not run, as it could do what root can";
        return Reading::bad;
    }
    text.clear();
    if (!read_to_end(fd.get(), text, max_script_size)) return failed("cannot be read");
    if (text.size() <= max_script_size) return Reading::good;
    problem = "is larger than 1 MiB";
    return Reading::bad;
}

std::string directory_of(const std::string& path) {
    size_t slash = path.rfind('/');
    return slash == 0 ? "/" : path.substr(0, slash);
}

class ConfigWatcher : public std::enable_shared_from_this<ConfigWatcher> {
  public:
    ConfigWatcher(EventLoop& loop, Turn& turn, WatchOptions options)
        : loop_(loop), engine_(turn.engine()), facet_(&turn.current()), keep_(facet_),
          options_(std::move(options)), tree_(options_.path) {}

    void start(Turn& turn);

  private:
    // A version of a file that runs, ran, or is about to.
    struct Version {
        uint64_t id = 0; // by which its errors find it
        Ref<Script> script;
        Running running;
        std::map<std::string, Handle> errors;
    };
    struct File {
        std::unique_ptr<Version> current;
        std::unique_ptr<Version> next; // being rehearsed
        // Why the file as it is now is not in force: it is no good, or stopped at once.
        std::map<std::string, Handle> load_errors;
        std::map<std::string, Handle> start_errors;
    };

    struct Starting {
        std::string path;
        Ref<Script> script;
        std::string text;
        bool kept; // it is not what the file says now, but what was in force
    };

    void on_events();
    void reload();
    void keep();
    void on_absence();
    void try_again();
    void schedule();
    void apply(Turn& turn);
    void load(Turn& turn, const std::string& path);
    std::optional<Starting> kept_version(const std::string& path);
    void start_kept(const std::string& path);
    void begin(Turn& turn, const std::string& path, Ref<Script> script, bool rehearsal);
    void hop(Turn& turn, size_t turns);
    void finish(Turn& turn);
    void settle(Turn& turn, const Starting& starting, std::vector<Ref<Facet>>& to_stop);

    void run_time_error(Turn& turn, const std::string& path, uint64_t id, const Problem& problem);
    void set_load_errors(Turn& turn, File& file, const std::vector<Problem>& problems);
    void clear_load_errors(Turn& turn, File& file);
    void retract_all(Turn& turn, std::map<std::string, Handle>& errors);
    void show_tree_problems(Turn& turn);
    Handle assert_error(Turn& turn, const Problem& problem);
    void tell(const Problem& problem) {
        if (options_.report)
            options_.report({preserves::as_utf8(problem.file), problem.at,
                             preserves::as_utf8(problem.message)});
    }

    EventLoop& loop_;
    dataspace::Engine& engine_;
    Ref<Facet> facet_;
    KeepAlive keep_;
    WatchOptions options_;
    FileTree tree_;
    Watch watch_; // of the tree's descriptor: goes before it
    Timer timer_;
    std::map<std::string, File, PathLess> files_;
    std::map<std::string, std::pair<std::string, Handle>> tree_problems_;
    FileTree::Changes pending_; // not yet applied
    Paths absent_;              // moved away, while the timer runs
    Paths again_;               // could not be read for want of something
    Timer again_timer_;
    std::vector<Starting> starting_;
    Paths stopping_;         // gone, stopped when what changed with them is in force
    bool scheduled_ = false; // a turn is on its way
    bool waiting_ = false;   // something has happened that no turn has looked at
    bool rehearsing_ = false;
    bool ready_ = false;
    bool kept_ = false; // as it is, for good
    uint64_t next_id_ = 1;
};

void ConfigWatcher::start(Turn& turn) {
    // The facet owns this; everything else only knows it.
    turn.on_stop([self = shared_from_this()](Turn&) {});
    if (options_.commands) {
        dataspace::on_message(turn, options_.commands,
                              dataspace::pattern::record("reload-configuration", {}),
                              [weak = weak_from_this()](Turn&, View) {
                                  if (auto self = weak.lock()) self->reload();
                              });
        dataspace::on_message(turn, options_.commands,
                              dataspace::pattern::record("keep-configuration", {}),
                              [weak = weak_from_this()](Turn&, View) {
                                  if (auto self = weak.lock()) self->keep();
                              });
    }
    if (Result<> opened = tree_.open(); !opened) {
        tell({tree_.path(), {0, 0}, "changes will not be noticed: " + opened.error().message});
    } else {
        auto weak = weak_from_this();
        Result<Watch> watch = loop_.watch(tree_.fd(), EPOLLIN, [weak](uint32_t) {
            if (auto self = weak.lock()) self->on_events();
        });
        if (watch)
            watch_ = std::move(*watch);
        else
            tell({tree_.path(), {0, 0}, watch.error().message});
    }
    pending_ = tree_.rescan();
    apply(turn);
}

// What is the same as before changes nothing.
void ConfigWatcher::reload() {
    if (kept_) return;
    pending_.merge(tree_.rescan());
    schedule();
}

void ConfigWatcher::keep() {
    kept_ = true;
    watch_.cancel();
    timer_.cancel();
    again_timer_.cancel();
    tree_.leave();
}

void ConfigWatcher::on_events() {
    FileTree::Changes changes = tree_.read_events();
    for (const Paths* paths : {&changes.changed, &changes.gone}) {
        for (const std::string& path : *paths)
            absent_.erase(path);
    }
    for (const std::string& path : changes.moved_away)
        absent_.insert(path);
    if (!changes.moved_away.empty() && !timer_.pending()) {
        auto weak = weak_from_this();
        timer_ = loop_.after(absence, [weak] {
            if (auto self = weak.lock()) self->on_absence();
        });
    }
    changes.moved_away.clear();
    pending_.merge(std::move(changes));
    schedule();
}

void ConfigWatcher::on_absence() {
    for (const std::string& path : absent_) {
        struct stat about;
        if (lstat(path.c_str(), &about) != 0) pending_.gone.insert(path);
    }
    absent_.clear();
    schedule();
}

// What could not be read for want of descriptors or memory.
void ConfigWatcher::try_again() {
    pending_.changed.merge(std::exchange(again_, Paths()));
    schedule();
}

void ConfigWatcher::schedule() {
    if (kept_) return;
    waiting_ = true;
    if (scheduled_ || rehearsing_) return;
    scheduled_ = true;
    engine_.external(facet_, [weak = weak_from_this()](Turn& turn) {
        if (auto self = weak.lock()) self->apply(turn);
    });
}

// Takes up what has changed on disk.
void ConfigWatcher::apply(Turn& turn) {
    scheduled_ = waiting_ = false;
    if (kept_) return;
    FileTree::Changes changes = std::exchange(pending_, {});
    show_tree_problems(turn);
    stopping_ = std::move(changes.gone);
    for (const std::string& path : changes.changed)
        load(turn, path);
    // Something has to be there for a rehearsal to make sense.
    bool replacing = !stopping_.empty() && !starting_.empty();
    size_t turns = 0;
    for (const Starting& each : starting_) {
        if (files_[each.path].current) replacing = true;
        turns = std::max(turns, rehearsal_turns(*each.script));
    }
    for (Starting& each : starting_)
        begin(turn, each.path, std::move(each.script), replacing);
    if (!replacing) {
        finish(turn);
    } else {
        rehearsing_ = true;
        hop(turn, turns);
    }
}

void ConfigWatcher::load(Turn& turn, const std::string& path) {
    std::string text;
    Problem problem{path, {0, 0}, {}};
    switch (read_script(path, options_.guarded, text, problem.message)) {
    case Reading::good:
        break;
    case Reading::missing:
        stopping_.insert(path);
        return;
    case Reading::for_now:
        again_.insert(path);
        if (!again_timer_.pending())
            again_timer_ = loop_.after(again_after, [weak = weak_from_this()] {
                if (auto self = weak.lock()) self->try_again();
            });
        [[fallthrough]];
    case Reading::bad:
        tree_.look_again(path);
        set_load_errors(turn, files_[path], {problem});
        start_kept(path);
        return;
    }
    File& file = files_[path];
    std::vector<Problem> problems;
    Ref<Script> script = Script::parse(text, path, directory_of(path), problems, options_.check);
    if (!script) {
        set_load_errors(turn, file, problems);
        start_kept(path);
        return;
    }
    if (file.current && file.current->script->same_content(*script)) {
        file.current->script->take_places(*script);
        clear_load_errors(turn, file);
        return;
    }
    starting_.push_back({path, std::move(script), std::move(text), false});
}

// What was in force in a second stage before us, if nothing of the file is yet.
std::optional<ConfigWatcher::Starting> ConfigWatcher::kept_version(const std::string& path) {
    if (files_[path].current) return {};
    std::optional<std::string> text = options_.kept.text_of(path);
    if (!text) return {};
    std::vector<Problem> problems;
    Ref<Script> script = Script::parse(*text, path, directory_of(path), problems, options_.check);
    if (!script) return {};
    tell({path, {0, 0}, "what was in force goes on"});
    return Starting{path, std::move(script), std::move(*text), true};
}

void ConfigWatcher::start_kept(const std::string& path) {
    if (auto kept = kept_version(path)) starting_.push_back(std::move(*kept));
}

void ConfigWatcher::begin(Turn& turn, const std::string& path, Ref<Script> script, bool rehearsal) {
    File& file = files_[path];
    file.next = std::make_unique<Version>();
    uint64_t id = next_id_++;
    file.next->id = id;
    file.next->script = script;
    auto report = [weak = weak_from_this(), path, id](Turn& inner, const Problem& problem) {
        if (auto self = weak.lock()) self->run_time_error(inner, path, id, problem);
    };
    Running none;
    const Running* predecessor = file.current ? &file.current->running : &none;
    file.next->running = run_script(turn, script, options_.environment, std::move(report),
                                    rehearsal ? predecessor : nullptr);
}

// Lets the engine work until what is rehearsed has seen what is there.
void ConfigWatcher::hop(Turn& turn, size_t turns) {
    if (turns == 0) {
        rehearsing_ = false;
        finish(turn);
        return;
    }
    engine_.external(facet_, [weak = weak_from_this(), turns](Turn& next) {
        if (auto self = weak.lock()) self->hop(next, turns - 1);
    });
}

// New versions take effect, old ones and files that are gone stop, in this turn.
void ConfigWatcher::finish(Turn& turn) {
    std::vector<Ref<Facet>> to_stop;
    for (const Starting& each : std::exchange(starting_, {}))
        settle(turn, each, to_stop);
    for (const std::string& path : std::exchange(stopping_, {})) {
        auto found = files_.find(path);
        if (found == files_.end()) continue;
        File& file = found->second;
        clear_load_errors(turn, file);
        if (file.current) {
            retract_all(turn, file.current->errors);
            to_stop.push_back(file.current->running.facet);
        }
        options_.kept.forget(path);
        files_.erase(found);
    }
    for (const Ref<Facet>& facet : to_stop)
        turn.stop(*facet);
    if (!ready_ && tree_.present()) {
        ready_ = true;
        std::set<std::string> paths;
        for (const auto& [path, file] : files_)
            paths.insert(path);
        options_.kept.keep_only(paths);
        if (options_.on_ready) options_.on_ready(turn);
    }
    if (waiting_) schedule();
}

void ConfigWatcher::settle(Turn& turn, const Starting& starting, std::vector<Ref<Facet>>& to_stop) {
    File& file = files_[starting.path];
    std::unique_ptr<Version> next = std::move(file.next);
    if (!starting.kept) set_load_errors(turn, file, {});
    const bool failed = next->running.failed;
    if (failed && !starting.kept) {
        if (auto before = kept_version(starting.path)) {
            begin(turn, before->path, std::move(before->script), false);
            file.current = std::move(file.next);
        }
    }
    if (failed && file.current) {
        std::swap(file.start_errors, next->errors);
        retract_all(turn, next->errors);
        return;
    }
    if (!failed && !starting.kept)
        if (auto kept = options_.kept.keep(starting.path, starting.text); !kept)
            tell({starting.path, {0, 0}, "not kept in case of a crash: " + kept.error().message});
    retract_all(turn, file.start_errors);
    release(turn, next->running);
    if (file.current) {
        for (const auto& [text, handle] : file.current->errors)
            turn.retract(handle);
        to_stop.push_back(file.current->running.facet);
    }
    file.current = std::move(next);
}

// ---- Errors ----

Handle ConfigWatcher::assert_error(Turn& turn, const Problem& problem) {
    Handle handle = 0;
    if (!options_.errors) return handle;
    turn.in(*facet_, [&](Turn& mine) {
        handle = mine.assert_(
            options_.errors,
            preserves::record("config-error",
                              {preserves::string(preserves::as_utf8(problem.file)),
                               preserves::integer(problem.at.line),
                               preserves::integer(problem.at.column),
                               preserves::string(preserves::as_utf8(problem.message))}));
    });
    return handle;
}

void ConfigWatcher::run_time_error(Turn& turn, const std::string& path, uint64_t id,
                                   const Problem& problem) {
    auto found = files_.find(path);
    Version* version = nullptr;
    if (found != files_.end()) {
        for (Version* one : {found->second.current.get(), found->second.next.get()}) {
            if (one && one->id == id) version = one;
        }
    }
    if (!version) { // the last words of one that is being stopped
        tell(problem);
        return;
    }
    std::string text = to_string(problem);
    if (version->errors.size() >= max_errors || version->errors.count(text) != 0) return;
    version->errors[text] = assert_error(turn, problem);
    tell(problem);
}

// These now stand, and no others; what stood before is not told again.
void ConfigWatcher::set_load_errors(Turn& turn, File& file, const std::vector<Problem>& problems) {
    std::map<std::string, Handle> old = std::exchange(file.load_errors, {});
    for (const Problem& problem : problems) {
        std::string text = to_string(problem);
        if (auto known = old.extract(text)) {
            file.load_errors.insert(std::move(known));
        } else if (file.load_errors.count(text) == 0) {
            file.load_errors[text] = assert_error(turn, problem);
            tell(problem);
        }
    }
    retract_all(turn, old);
}

void ConfigWatcher::clear_load_errors(Turn& turn, File& file) {
    set_load_errors(turn, file, {});
    retract_all(turn, file.start_errors);
}

void ConfigWatcher::retract_all(Turn& turn, std::map<std::string, Handle>& errors) {
    for (const auto& [text, handle] : errors)
        turn.retract(handle);
    errors.clear();
}

void ConfigWatcher::show_tree_problems(Turn& turn) {
    for (auto at = tree_problems_.begin(); at != tree_problems_.end();) {
        auto still = tree_.problems().find(at->first);
        if (still != tree_.problems().end() && still->second == at->second.first) {
            ++at;
            continue;
        }
        turn.retract(at->second.second);
        at = tree_problems_.erase(at);
    }
    for (const auto& [path, message] : tree_.problems()) {
        if (tree_problems_.count(path) != 0) continue;
        Problem problem{path, {0, 0}, message};
        tree_problems_[path] = {message, assert_error(turn, problem)};
        tell(problem);
    }
}

} // namespace

void watch_config(Turn& turn, EventLoop& loop, WatchOptions options) {
    std::make_shared<ConfigWatcher>(loop, turn, std::move(options))->start(turn);
}

void serve_config_watchers(Turn& turn, EventLoop& loop, const CapRef& config,
                           std::function<void(const Problem&)> report,
                           std::function<bool(View)> guarded, Check check,
                           std::function<KeptScripts(const std::string&)> kept) {
    namespace pattern = dataspace::pattern;
    Value any = pattern::discard();
    Value service = pattern::bind(pattern::record("config-watcher", {any, any}));
    Value wanted = pattern::record("run-service", {service});
    auto body = [&loop, config, report, guarded, check, kept](Turn& inner, View captures) {
        Value name(captures.at(0));
        auto state = [config, name](Turn& t, std::string_view word) {
            t.assert_(config, preserves::record("service-state", {name, preserves::symbol(word)}));
        };
        auto path = name.view().at(0).as_string();
        if (!path || path->empty() || !name.view().at(1).is(preserves::Kind::dictionary)) {
            if (report) {
                report({preserves::to_text(name),
                        {0, 0},
                        "<config-watcher \"PATH\" {NAME: VALUE …}> was expected"});
            }
            state(inner, "failed");
            return;
        }
        WatchOptions options;
        options.path = *path;
        options.environment = Environment::from_dictionary(name.view().at(1));
        options.guarded = guarded && guarded(name.view().at(1));
        options.check = check;
        if (kept) options.kept = kept(options.path);
        options.errors = config;
        options.commands = config;
        options.report = report;
        options.on_ready = [state](Turn& t) { state(t, "ready"); };
        state(inner, "started");
        watch_config(inner, loop, std::move(options));
    };
    dataspace::during(turn, config, wanted, body);
}

} // namespace muster::config
