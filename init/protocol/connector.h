// The client's side: connecting to other dataspaces, and following routes to what they offer
// (reference 2.6; gatekeeper.prs). Questions are asserted in a dataspace, answers appear there:
//
//   <q <connect-transport ADDR>>               ADDR: <unix "PATH">, <tcp "HOST" PORT>
//   <a <connect-transport ADDR> <ok <connected-transport ADDR #:control #:session>>>
//       `session` is oid 0 of the other side. The message <force-disconnect> to `control` drops the
//       connection. When it ends, the answer goes, and it is connected anew, at once if it had
//       lasted, else ever more slowly, up to every 10 seconds, for as long as the question stands.
//   <q <resolve-path-step #:origin STEP>>
//   <a <resolve-path-step #:origin STEP> <ok #:cap>>         or <error DETAIL>
//       Asserts <resolve STEP #:observer> at `origin`; understands both spellings of the answer.
//   <q <resolve-path <route [ADDR …] STEP …>>>
//   <a <resolve-path ROUTE> <ok <resolved-path ADDR #:control #:cap>>>   or <error DETAIL>
//       Asks the questions above: for all transports at once, of which the first that is there is
//       taken, then for one step after the other.
//
// What is of another kind (`<ws …>`, say) waits for somebody else to answer it.
#pragma once

#include <functional>
#include <string>

#include "init/base/event_loop.h"
#include "init/dataspace/actor.h"

namespace muster::protocol {

// Answers in `config`. Observes from the current facet. `report` is told of connections that could
// not be made (the first time) and of those that broke, one line.
void serve_connectors(dataspace::Turn& turn, EventLoop& loop, const dataspace::CapRef& config,
                      std::function<void(const std::string&)> report);

} // namespace muster::protocol
