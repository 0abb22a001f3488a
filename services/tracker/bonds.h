// Ties between services that are weaker than dependencies, and names that several may provide.
//
//   <wants S <service-state S2 STATE>>   S2 is needed while S is. S starts when S2 is in that
//                                        state, or has failed, or is held down; or when nothing
//                                        that goes on will bring that about, or S2 waits for S,
//                                        after a while (TrackerSpaces). What happens to S2 later is
//                                        nothing to S.
//   <before S2 S>                        the same, for S2 being up, if S2 is needed at all
//   <conflicts S S2>                     never both at a time. S gives way: it is stopped, or not
//                                        started, while S2 is needed; and S2 starts when nothing of
//                                        S is left. If it is said both ways, or in a circle of
//                                        services that are all needed, the least name (in the order
//                                        of their canonical bytes) does not give way.
//   <provides P S>                       S is needed: then P, or another one that provides it, is.
//                                        S is up when that is. Chosen is who is up, else who is
//                                        needed anyway, else the first by name; when that one is
//                                        given up, held down or goes from the configuration, the
//                                        next. A daemon that is defined is itself, whoever provides
//                                        it.
#pragma once

#include "services/tracker/service.h"

namespace muster::services {

// What asks for something in a service by a bond, or the other way round: whether it is on its way
// to being up. True if it runs and is not up yet, or if all that it needs is on its way, or if it
// waits for no more than what does not last.
bool under_way(const ServiceTable& services, View name);
// Whether it is not started before `other` is, by needs or weak ties, at whatever remove.
bool waits_for(const ServiceTable& services, View name, View other);

} // namespace muster::services
