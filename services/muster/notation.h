// What people type: values, names of services, patterns.
#pragma once

#include <string>
#include <string_view>

#include "init/base/result.h"
#include "init/preserves/value.h"

namespace muster::command {

using preserves::Value;
using preserves::View;

// A Preserves value. Errors say where.
Result<Value> parse_value(std::string_view text);

// A service: `name` is <daemon name>; a record is itself. As `muster` shows names: `{...}` is `_`,
// and capabilities, `#:3`, are the symbol `capability`, as in `$status`.
Result<Value> parse_service(std::string_view text);

// A pattern as configuration scripts write it, `<device block _ {DEVNAME: ?}>`: `_` and symbols
// that begin with `?` stand for anything, records, sequences and dictionaries are open at their
// end. Gives the wire pattern (reference 2.9). ERRORS: sets, which patterns cannot express.
Result<Value> parse_pattern(std::string_view text);

// The same from a value.
Result<Value> typed_pattern(View value);

// A value as `muster` shows it: a capability by its oid on this connection, `#:3`, the same for the
// same, and meaning nothing outside of it.
std::string text_of(View value);

// A wire pattern as `parse_pattern` takes it. What people cannot type is shown as it stands.
std::string pattern_text(View wire);

// The wire pattern to observe instead, where observing `pattern` would imply a need (design 2): for
// `<ServiceRunning S>` that of all of them. What comes is to be matched with `pattern` itself.
Value harmless(const Value& pattern);

} // namespace muster::command
