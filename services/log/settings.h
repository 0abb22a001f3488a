// What a specification says about the log files of its service, and a system about those of all:
//
//   log: none                                     no files; `$log` gets the lines all the same
//   log: {size: 1048576 number: 4 age: 604800}    bytes, files of before, seconds
//   <log-files {size: … number: … age: …}>        in `$config`: for those that do not say
//
// What is left out is the default: that of `<log-files …>`, else 1 MiB, 4 files, 7 days.
#pragma once

#include "init/base/result.h"
#include "init/dataspace/dataspace.h"
#include "init/preserves/value.h"
#include "services/log/journal.h"

namespace muster::logs {

// ERRORS: what is wrong, beginning with "log: ".
Result<Rotation> parse_rotation(preserves::View value);

// Takes `<log-files {…}>` from `config`; what is wrong with it is told to `report`.
void serve_settings(dataspace::Turn& turn, const dataspace::CapRef& config, Journal& journal,
                    std::function<void(const std::string&)> report);

} // namespace muster::logs
