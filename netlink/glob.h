// Patterns of module aliases, as fnmatch(3) without flags reads them: * ? [a-z] [!a-z] \x. As in
// module names, '-' and '_' are the same outside brackets (kmod does it so).
#pragma once

#include <string_view>

namespace muster::netlink {

// Takes no memory, and at most pattern times text steps.
bool glob_matches(std::string_view pattern, std::string_view text);

// How many characters at the beginning of a pattern stand for themselves.
size_t literal_prefix(std::string_view pattern);

// The order of names in which '-' and '_' are the same: negative, zero or positive.
int compare_names(std::string_view a, std::string_view b);
inline char name_character(char c) { return c == '-' ? '_' : c; }

} // namespace muster::netlink
