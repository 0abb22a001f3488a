// Which service somebody means: from what was typed to the name that the system knows.
//
// `$status` shows names without their capabilities, so that what is typed can only be compared with
// that. Who gives an order looks up the name itself, capabilities and all, in `$config`.
#pragma once

#include <string>
#include <vector>

#include "services/muster/bus.h"

namespace muster::command {

// All services, as `$status` knows them. ERRORS: the connection ends.
Result<std::vector<Value>> known_services(Bus& bus);

// The services that `word` means, by their names in `$status`: `<service NAME WORD {…}>` records in
// `known`. A name that is known as it was typed is that alone; a bare name is a daemon's, or else a
// milestone's. Otherwise what was typed is a pattern, in which `_` stands for anything and records
// and dictionaries may have more than was typed: `<config-watcher "/etc/x">`. If nothing fits, what
// was typed. REQUIRES: `word` parses as a service.
std::vector<Value> services_meant(const std::string& word, const std::vector<Value>& known);

// The same service as `$config` names it. `name` is from `$status`.
// ERRORS: several differ in their capabilities only; the connection ends.
Result<Value> real_name(Bus& bus, const Value& name);

// What goes down with `name`, in sentences for people, if anything does: what depends on it, and,
// of a milestone, what it depends on. By the dependencies in `$config` and the services in `known`.
Result<std::vector<std::string>> goes_down_with(Bus& bus, const Value& name,
                                                const std::vector<Value>& known);

} // namespace muster::command
