// Standard output of a command. What cannot be written, as to a disk that is full, ends the
// command: a line on stderr says why, the exit status is 1. (SIGPIPE ends it if nobody reads a
// pipe.)
#pragma once

#include <string_view>

namespace muster::command {

void put(std::string_view text);
void put_line(std::string_view text);
// Sends what was put so far to whoever reads along.
void flush_output();

// The exit status of a command that ends with `result`: 1 if not all it has said could be written.
int finish(int result);

} // namespace muster::command
