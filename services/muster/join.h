// Joins two byte streams: what comes from one goes to the other, both ways, neither direction
// waiting for the other one.
#pragma once

#include "init/base/result.h"

namespace muster::command {

// One side of the join; both may be the same descriptor.
struct Ends {
    int input;
    int output;
};

// Until `second` ends, or `first` takes no more. When `first` ends, `second` is told by shutdown(2)
// and still has the time to answer: who has said all may still listen. The descriptors stay the
// caller's and are left in the mode in which they are. REQUIRES: SIGPIPE is ignored.
// ERRORS: poll(2).
Result<> join(Ends first, Ends second);

} // namespace muster::command
