// Services that are started by what happens.
//
//   <started-by S <present PATTERN>>   an assertion that matches appears in `$config` or `$machine`
//   <started-by S <message PATTERN>>   a message that matches is sent there
//
// PATTERN as in `<depends-on S <present PATTERN>>`. Several of them for one S: any will do.
//
//   waiting --it happens--> begun: `<require-service S>` is asserted from now on. S runs when what
//      ^                    |      it depends on is there, however long that takes
//      |                    |
//      |                    | it happens again: nothing, while S runs or is about to; if it is
//      |                    | complete or failed, it is run once more (`<restart-service S>`)
//      +--------------------+ `muster stop S`; or S is ready, nothing matches any more, and there
//      is
//                             an `<idle-stop S SECONDS>`, whose time begins then
//
// What is there already when `started-by` comes begins S as well, but runs nothing a second time.
// A second stage that takes over knows what had matched (kept_matches.h): that does nothing twice,
// and what appeared in `$machine` while there was no second stage has happened. It knows as well
// which services had been begun; one that has a state counts as begun in any case.
#pragma once

#include "init/dataspace/dataspace.h"

namespace muster::services {

class KeptMatches;

struct TriggerSpaces {
    dataspace::CapRef config;
    dataspace::CapRef machine;
    dataspace::CapRef log;
    KeptMatches* matches = nullptr; // may be null; must outlive the engine
};

// From the current facet, the root of an actor of its own.
void serve_triggers(dataspace::Turn& turn, const TriggerSpaces& spaces);

} // namespace muster::services
