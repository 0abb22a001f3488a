// The program `init`: what it was called as, start-up, and the loop around Pid1.
#pragma once

namespace muster::pid1 {

// Never returns as process 1, but in a container.
int run_init(int argc, char** argv);

} // namespace muster::pid1
