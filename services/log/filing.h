// What is said in `$log` by others than the processes that we read from goes into files too: the
// system, supervisors, whoever holds `$log`. A message `<log TIMESTAMP {service: S stream: …
// line: …}>` is a line in the file of S.
#pragma once

#include "init/dataspace/dataspace.h"
#include "services/log/journal.h"

namespace muster::logs {

// Observes from the current facet; `journal` must outlive it. Messages with `filed: #t` are there
// already.
void file_messages(dataspace::Turn& turn, const dataspace::CapRef& log, Journal& journal);

} // namespace muster::logs
