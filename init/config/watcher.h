// Keeps the running system as the configuration files say (reference 3.6; README.md here).
//
// Life of a file:
//   absent     nothing of it runs
//   in force   its last good version runs in a facet of its own
// A file that is complete (file_tree.h) is read and parsed. If it cannot be read, or is no good
// script, or stops at once on a run-time error, that is reported, and what was in force stays so.
// If it says the same as what is in force, nothing happens. Otherwise the new version is rehearsed
// (script.h), then takes effect in one turn, in which the old one stops: what both say does not
// blink. All files that changed together change in the same turn. A file that is gone stops; one
// that was moved away stops a moment later, if it has not come back by then, since editors save
// by moving the old file away and writing a new one.
//
// When the second stage is started again, what was in force is what KeptScripts has of it.
//
// While an error stands, `<config-error "FILE" LINE COLUMN "message">` is asserted; line 0 is for
// the file as a whole.
#pragma once

#include <functional>
#include <string>

#include "init/base/event_loop.h"
#include "init/config/kept_scripts.h"
#include "init/config/script.h"
#include "init/dataspace/actor.h"

namespace muster::config {

struct WatchOptions {
    std::string path;        // a directory or a file
    Environment environment; // what each script starts with
    // Read only files of root and of our own user that nobody else may write.
    bool guarded = false;
    // Looks at what they assert (script.h).
    Check check;
    // Of a second stage before us, and for the next.
    KeptScripts kept;
    // Where errors are asserted; empty: nowhere.
    dataspace::CapRef errors;
    // Where the message `<reload-configuration>` has everything looked at again, for what the
    // kernel does not tell: a symbolic link's target that changed elsewhere, a file system mounted
    // over a directory; and `<keep-configuration>` that nothing is looked at any more, whatever
    // becomes of the files. Empty: nowhere.
    dataspace::CapRef commands;
    // Told about every error once, when it comes up.
    std::function<void(const Problem&)> report;
    // Called once, in the turn in which the files that are there at first have been started. Not
    // before the path exists.
    dataspace::TurnAction on_ready;
};

// Watches until the current facet stops, and keeps it alive.
void watch_config(dataspace::Turn& turn, EventLoop& loop, WatchOptions options);

// Serves `<run-service <config-watcher "PATH" {NAME: VALUE …}>>` in `config`, from the current
// facet: publishes `<service-state S started>`, and `<service-state S ready>` after the first scan;
// `failed` if PATH is no string or the variables are no dictionary. `<reload-configuration>` and
// `<keep-configuration>` are heard in `config`. `guarded`, if given, tells from the variables
// whether the files are to be read only if they are root's; `check` looks at what the scripts
// assert; `kept` makes what outlives us of the files below PATH.
void serve_config_watchers(dataspace::Turn& turn, EventLoop& loop, const dataspace::CapRef& config,
                           std::function<void(const Problem&)> report,
                           std::function<bool(preserves::View variables)> guarded = {},
                           Check check = {},
                           std::function<KeptScripts(const std::string& path)> kept = {});

// The largest script that is read, in bytes.
inline constexpr size_t max_script_size = 1'048'576;

} // namespace muster::config
