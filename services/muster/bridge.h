// `muster bridge`, `muster serve-stdio` and `muster pipe`: bytes between a Unix socket of the
// second stage and whatever leads elsewhere. The protocol is spoken by the second stage itself
// (init/protocol/bridge.h).
#pragma once

#include <string>
#include <vector>

namespace muster::command {

// Joins our standard input and output to the socket until that ends. Returns the exit status.
// `what` is at the socket, for messages.
int join_stdio(const std::string& path, const std::string& what);

// Joins the standard input and output of a program to the socket until one of them ends. Returns
// the program's exit status if it failed, else 0.
int bridge(const std::string& path, const std::vector<std::string>& argv);

} // namespace muster::command
