// What a run of a daemon carries over the death of a second stage beside its record in the ledger
// (ledger.h): what only some have, so that the others need no room for it. A dictionary:
//
//   {
//       starts: [123 456]          of restartLimit; CLOCK_MONOTONIC, nanoseconds
//       says: "Serving"            STATUS= of the process
//       reloading: #t              RELOADING=1
//       last: "…"                  Instance::last, where the record has no room for all of it
//       failure: {how: "…" status: 256 lines: ["…"]}    the last one; status as wait(2) gives it
//       before: 2                  commands of startPre that are done; the process is still to come
//       commands: {what: startPost at: 1 slot: 7 generation: 3 status: 0}
//                                  those under way: the one at that place (from 0), which is in
//                                  that slot, or is to be started; status: of its end, which came
//       logger: {what: … at: 0 slot: 8 generation: 1}    the same of the finish of an s6 logger
//       main: {slot: 9 generation: 1}                    of the process it named as its main one
//   }
//
// Nothing of it is needed to go on. What is missing or makes no sense is left out.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "init/preserves/value.h"
#include "init/second_stage_link.h"

namespace muster::services {

// Where a row of commands is.
struct CommandPlace {
    std::string what; // startPre startPost stopPost finish …; empty: there are none
    size_t at = 0;
    SlotRef slot; // of the process; generation 0: there is none yet
    std::optional<int> status;
};

struct Carried {
    struct LastFailure {
        std::string how;
        int status = 0;
        std::vector<std::string> lines;
    };

    std::vector<uint64_t> starts;
    std::string says;
    bool reloading = false;
    std::string last;
    std::optional<LastFailure> failure;
    size_t before = 0;
    CommandPlace commands;
    CommandPlace logger;
    SlotRef main;                   // generation 0: none
    std::optional<int> main_status; // how that one ended

    bool empty() const;
    preserves::Value encode() const;
    static Carried decode(preserves::View from);
};

// A string if it is text, bytes if not, and back.
preserves::Value text_value(std::string_view bytes);
std::string bytes_of(preserves::View text);

} // namespace muster::services
