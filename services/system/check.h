// `dataspace --check`: whether this program could run here, and go on for another one.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "init/preserves/value.h"
#include "services/system/options.h"

namespace muster::services {

// Reads every script under the --config paths; says what is wrong on standard error. The exit
// status.
int check(const Options& options);

// For config::Script: what is wrong with an assertion, of all that is looked at.
std::vector<std::pair<preserves::View, std::string>> check_configured(preserves::View assertion);

// What it prints when it was asked for these versions and nothing is wrong, so that it is not
// mistaken for another program.
inline std::string takes_over(int records, int ledger) {
    return "dataspace: takes over records " + std::to_string(records) + ", ledger " +
           std::to_string(ledger);
}

} // namespace muster::services
