// Dataspace patterns (reference 2.9, dataspacePatterns.prs): `<_>`, `<bind P>`, `<lit A>`,
// `<group TYPE {key: P …}>`.
//
// A pattern is parsed into flat lists of paths, so that matching needs no recursion: which nodes
// must be compound values of which class (and, for records, label) with at least how many fields,
// which must exist, which hold which constants, and which are captured. Groups are open: extra
// fields, elements and keys are ignored.
//
// The *shape* of a pattern is all of this but the constants; the index groups observers by it.
#pragma once

#include <optional>
#include <vector>

#include "init/base/byte_buffer.h"
#include "init/base/result.h"
#include "init/preserves/value.h"

namespace muster::dataspace {

using preserves::Value;
using preserves::View;

// One step into a compound value: the index of a field or element, or a key of a dictionary.
struct Step {
    uint32_t index = 0;
    Value key; // of a dictionary; invalid: it is an index
};
// From the root of a value to a node in it.
using Path = std::vector<Step>;

class Fields;

struct Pattern {
    enum class Class : uint8_t { any, atom, record, sequence, dictionary };

    struct Node {
        Path path;
        Class type;         // record, sequence, dictionary
        Value label;        // of a record
        uint32_t min_count; // of a record or sequence
    };

    Class root = Class::any;   // atom: the pattern is one <lit …>
    std::vector<Node> nodes;   // outer before inner; the root comes first if it is a group
    std::vector<Path> present; // <_> in dictionaries: the key must be there
    std::vector<Path> constant_paths;
    std::vector<Value> constants; // in step with constant_paths
    std::vector<Path> captures;   // outer before inner, keys ascending

    // Limits, before any work is done on a pattern.
    static constexpr size_t max_nodes = 4'096;
    static constexpr uint32_t max_index = 65'535;
    // What one match may capture: no more than a packet can carry, which itself takes three levels.
    // Otherwise binds within binds multiply a large value, and a dataspace that observes itself
    // nests its values ever deeper.
    static constexpr size_t max_captures = 16 * 1024 * 1024; // bytes
    static constexpr size_t max_capture_depth = preserves::max_depth - 3;

    // ERRORS: it is no pattern, or it exceeds a limit; which, `exceeded` says.
    static Result<Pattern> parse(View wire, bool* exceeded = nullptr);

    // True if `value` matches; then `out`, if given, gets the captured values in order.
    bool matches(View value, std::vector<View>* out = nullptr) const;
    // The same without the constants: classes, counts and presence.
    bool fits(Fields& fields) const;
    // The same for a value of which it is known that it has the class and label of the root.
    bool fits_below_root(Fields& fields) const;
    // What identifies the shape, captures included: a value for hash tables.
    Value shape() const;
};

// The node of `value` at `path`; invalid if there is none.
View walk(View value, const Path& path);
// Appends the canonical bytes of the sequence of what stands at `paths` in `value` to an empty
// `out`. False, and nothing useful in `out`, if something is missing or it is too much (see
// Pattern::max_captures; sets `too_much`, if given): then it does not match.
bool collect(Fields& fields, const std::vector<Path>& paths, ByteBuffer& out,
             bool* too_much = nullptr);
// Whether a sequence of captures is small enough to be one.
bool within_bounds(preserves::Bytes captures);

// Patterns as values, for code that observes.
namespace pattern {
Value discard();
Value bind(View inner);
Value bind(); // <bind <_>>
// A literal: an atom or capability as <lit …>, a record, sequence or dictionary as nested groups.
// Fails (invalid Value) for sets, which patterns cannot express.
Value literal(View value);
// Fields by position; an invalid View leaves the position out.
Value record(std::string_view label, std::initializer_list<View> fields);
Value record(View label, std::initializer_list<View> fields);
Value sequence(std::initializer_list<View> items);
Value dictionary(std::initializer_list<std::pair<std::string_view, View>> symbol_keys);
// The value if `wire` denotes exactly one: binds stripped, only literals and groups whose keys are
// 0…n−1 without a hole (design 2, "in full"). Invalid otherwise.
Value constant_value(View wire);
} // namespace pattern

} // namespace muster::dataspace
