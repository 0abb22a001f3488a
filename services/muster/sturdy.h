// `muster mint` and `muster attenuate`: sturdyrefs (init/protocol/sturdyref.h) on the command line.
#pragma once

#include <string>
#include <vector>

#include "init/base/result.h"
#include "init/preserves/value.h"

namespace muster::command {

inline constexpr const char* mint_usage =
    "usage: muster mint --oid VALUE KEY [--caveat CAVEAT]...\n"
    "       muster attenuate [--caveat CAVEAT]... STURDYREF\n"
    "\n"
    "Mint prints the sturdyref for what is bound as <bind <ref {oid: VALUE key: KEY}> ...>,\n"
    "attenuate prints one that allows less, without knowing the key.\n"
    "\n"
    "KEY is one of\n"
    "  --phrase TEXT        the key is these bytes; others can see it while the command runs\n"
    "  --phrase-file FILE   the same from a file, without the line feed at its end\n"
    "  --key HEX            the key in hexadecimal; others can see it, too\n"
    "  --key-file FILE      the same from a file\n"
    "CAVEAT is <rewrite PATTERN TEMPLATE>, <or [<rewrite ...> ...]> or <reject PATTERN>; the "
    "first\n"
    "is the oldest. FILE may be -, which is standard input, as may STURDYREF.\n";

// Both: what is to be printed. The words are the command line from the command on.
// ERRORS: what is wrong with it.
Result<std::string> sturdy_command(int argc, char** argv);

// What `muster resolve` was given, as a route: `<route …>` itself, `<ref …>` or another step. `at`:
// transports to go to instead, each a value, a path, or HOST:PORT. "-" is standard input.
Result<preserves::Value> parse_route(const std::string& word, const std::vector<std::string>& at);

} // namespace muster::command
