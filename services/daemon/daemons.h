// The supervisor of daemons, as others see it: assertions in `$config` only.
//
//   observes   <run-service <daemon ID>>          the daemon is to run now
//              <daemon ID SPEC>                   how (spec.h); several SPECs, several processes
//              <restart-service <daemon ID>>      message: stop and start it
//              <system-ends>                      no message has anything started again
//   asserts    <service-state <daemon ID> STATE>  started, ready, failed, complete (daemon.h)
//              <service-object <daemon ID> #:cap> its own object, if it speaks a protocol
//              <daemon-status ID {…}>             for people:
//     phase     undefined (no specification), starting, running, stopping, backoff, failed,
//               complete
//     pid       of the process, if one runs; of several, of the one that `phase` is about
//     restarts  how often processes were started again
//     last      what ended or prevented the last process: "exit code 1", "foo: no such program"
//     delayMs   in backoff: from the end of the last process to the next start
//     stopLimitMs  while it stops: how long that may take since it was told to
//     stale     #t while what a process asserted outlives it (`linger`)
//     processes how many there are, if more than one
//     says      what the process says about itself (STATUS= of sd_notify)
//     reloading #t while it says so
//
// What changes in one turn is looked at when that turn ends, so a specification that is asserted
// anew before it is retracted changes nothing.
#pragma once

#include "services/daemon/context.h"

namespace muster::services {

// Starts the supervisor as an actor of its own.
void serve_daemons(dataspace::Turn& turn, const Context& context);

} // namespace muster::services
