// `muster log`: what services and the system wrote, from files and from the ring; with -f also what
// is said from now on, without a gap or a line twice.
#pragma once

namespace muster::command {

// `argv[0]` is "log". `bus`: path of the system bus, for -f. Returns the exit status.
int log_command(const char* bus, int argc, char** argv);

} // namespace muster::command
