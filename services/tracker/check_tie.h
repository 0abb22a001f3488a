// What is mistyped in a configuration file about when services run.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "init/preserves/value.h"

namespace muster::services {

// For config::Script: what is wrong with an assertion, if it is one of `<depends-on S D>`,
// `<wants S D>`, `<started-by S CONDITION>`, `<idle-stop S SECONDS>`. S may depend on any
// assertion; a service is none, nor is one of its states without a word for it.
std::vector<std::pair<preserves::View, std::string>> check_tie(preserves::View assertion);

} // namespace muster::services
