// Why a service is as it is: who needs it, up to whoever asked first; or what it waits for, down to
// what is missing; or how it failed.
#pragma once

#include <string>
#include <vector>

#include "services/muster/json.h"
#include "services/muster/outline.h"
#include "services/muster/places.h"
#include "services/muster/world.h"

namespace muster::command {

// One link of the chain. `kind` is for programs:
//   service         the service itself, or one that it waits for, with its state
//   needed-by       a service that depends on it
//   configuration   files ask for it, as `text` says
//   operator        somebody said `muster start`
//   stopped-by-operator
//   program         somebody on the bus or a service asks for it
//   nobody          nobody asks for it
//   missing         an assertion that is not there; `text` has the pattern
//   undefined       no `<daemon …>` says how to run it
//   unprovided      nobody runs services of this kind
//   failure         how it ended last
//   cycle           services that wait for each other
//   more            how many are not named
//   note            anything else
struct Reason {
    size_t depth;
    std::string kind;
    std::string service; // as shown; empty if it is about none
    std::string state;
    std::string text;
};

// `now`: microseconds. Everything that is found, in the order of an outline.
std::vector<Reason> why(const World& world, size_t unit, const Places& places, uint64_t now);

std::vector<Row> rows_of(const std::vector<Reason>& reasons);
void write_json(Json& json, const std::vector<Reason>& reasons);

} // namespace muster::command
