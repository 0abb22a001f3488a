#include "init/dataspace/pattern.h"

#include <algorithm>

#include "init/dataspace/fields.h"
#include "init/preserves/encoder.h"

namespace muster::dataspace {

using preserves::Encoder;
using preserves::Kind;
namespace tag = preserves::tag;

namespace {

// Walks a wire pattern. Recursion is bounded by preserves::max_depth.
class PatternParser {
  public:
    explicit PatternParser(Pattern& out) : out_(out) {}

    bool parse(View wire, const Path& path, bool key_in_dictionary) {
        if (++nodes_ > Pattern::max_nodes) return exceeds("too many nodes");
        if (wire.is_record("_")) {
            if (key_in_dictionary) out_.present.push_back(path);
            return true;
        }
        if (wire.is_record("bind", 1)) {
            out_.captures.push_back(path);
            return parse(wire.at(0), path, key_in_dictionary);
        }
        if (wire.is_record("lit", 1)) return literal(wire.at(0), path);
        if (wire.is_record("group", 2)) return group(wire.at(0), wire.at(1), path);
        return fail("expected <_>, <bind P>, <lit A> or <group TYPE {…}>");
    }

    const char* problem() const { return problem_; }
    bool exceeded() const { return exceeded_; }

  private:
    bool fail(const char* problem) {
        problem_ = problem;
        return false;
    }
    bool exceeds(const char* problem) {
        exceeded_ = true;
        return fail(problem);
    }

    bool literal(View value, const Path& path) {
        if (!value.valid() || value.is_compound()) return fail("a literal must be an atom");
        if (path.empty()) out_.root = Pattern::Class::atom;
        out_.constant_paths.push_back(path);
        out_.constants.emplace_back(value);
        return true;
    }

    bool group(View type, View entries, const Path& path) {
        if (!entries.is(Kind::dictionary)) return fail("a group's entries must be a dictionary");
        Pattern::Node node{path, Pattern::Class::dictionary, {}, 0};
        if (type.is_record("rec", 1)) {
            node.type = Pattern::Class::record;
            node.label = Value(type.at(0));
        } else if (type.is_record("arr")) {
            node.type = Pattern::Class::sequence;
        } else if (!type.is_record("dict")) {
            return fail("a group's type must be <rec LABEL>, <arr> or <dict>");
        }
        if (path.empty()) out_.root = node.type;
        bool dictionary = node.type == Pattern::Class::dictionary;

        struct Entry {
            View key;
            View pattern;
        };
        std::vector<Entry> sorted;
        for (View item : entries.items()) {
            if (nodes_ + sorted.size() > Pattern::max_nodes) return exceeds("too many nodes");
            if (!sorted.empty() && !sorted.back().pattern.valid())
                sorted.back().pattern = item;
            else
                sorted.push_back({item, {}});
        }
        std::sort(sorted.begin(), sorted.end(), [](const Entry& a, const Entry& b) {
            return preserves::compare(a.key, b.key) < 0;
        });
        std::vector<Path> paths;
        for (const Entry& entry : sorted) {
            Path inner = path;
            if (dictionary) {
                inner.push_back({0, Value(entry.key)});
            } else {
                std::optional<int64_t> index = entry.key.as_int();
                if (!index || *index < 0)
                    return fail("the keys of records and sequences must be indices");
                if (*index > Pattern::max_index) return exceeds("an index too large");
                inner.push_back({static_cast<uint32_t>(*index), {}});
                node.min_count = std::max(node.min_count, static_cast<uint32_t>(*index) + 1);
            }
            paths.push_back(std::move(inner));
        }
        out_.nodes.push_back(std::move(node));
        for (size_t i = 0; i < sorted.size(); ++i)
            if (!parse(sorted[i].pattern, paths[i], dictionary)) return false;
        return true;
    }

    Pattern& out_;
    size_t nodes_ = 0;
    bool exceeded_ = false;
    const char* problem_ = "";
};

bool has_class(const Pattern::Node& node, Fields& fields) {
    View value = fields.walk(node.path);
    switch (node.type) {
    case Pattern::Class::record:
        if (!value.is(Kind::record) || !(value.label() == node.label.view())) return false;
        break;
    case Pattern::Class::sequence:
        if (!value.is(Kind::sequence)) return false;
        break;
    case Pattern::Class::dictionary:
        return value.is(Kind::dictionary);
    default:
        return value.valid();
    }
    if (node.min_count == 0) return true;
    const uint32_t last = node.min_count - 1;
    return (node.path.empty() ? fields.at(last) : value.at(last)).valid();
}

void encode_path(const Path& path, Encoder& out) {
    out.begin_sequence();
    for (const Step& step : path) {
        // A key stands in a sequence of its own: an integer key is no index.
        if (step.key.valid()) {
            out.begin_sequence();
            out.value(step.key);
            out.end();
        } else {
            out.integer(step.index);
        }
    }
    out.end();
}

void encode_paths(const std::vector<Path>& paths, Encoder& out) {
    out.begin_sequence();
    for (const Path& path : paths)
        encode_path(path, out);
    out.end();
}

} // namespace

Result<Pattern> Pattern::parse(View wire, bool* exceeded) {
    Pattern pattern;
    PatternParser parser(pattern);
    bool good = parser.parse(wire, {}, false);
    if (exceeded) *exceeded = parser.exceeded();
    if (!good) return Error{std::string("pattern: ") + parser.problem()};
    return pattern;
}

View walk(View value, const Path& path) {
    for (const Step& step : path) {
        if (!value.valid()) break;
        value = step.key.valid() ? value.get(step.key.view()) : value.at(step.index);
    }
    return value;
}

bool collect(Fields& fields, const std::vector<Path>& paths, ByteBuffer& out, bool* too_much) {
    bool fits = true;
    out.push_back(tag::sequence);
    for (const Path& path : paths) {
        View found = fields.walk(path);
        if (!found.valid()) return false;
        fits = fits && found.bytes().size() <= Pattern::max_captures - out.size();
        if (fits) out.append(found.bytes());
    }
    out.push_back(tag::end);
    fits = fits && within_bounds(out.bytes());
    if (!fits && too_much) *too_much = true;
    return fits;
}

bool within_bounds(preserves::Bytes captures) {
    // Each level takes two bytes: small ones need no look.
    return captures.size() / 2 <= Pattern::max_capture_depth ||
           (captures.size() <= Pattern::max_captures &&
            preserves::depth_of(captures) <= Pattern::max_capture_depth);
}

bool Pattern::fits(Fields& fields) const {
    for (const Node& node : nodes)
        if (!has_class(node, fields)) return false;
    for (const Path& path : present)
        if (!fields.walk(path).valid()) return false;
    return true;
}

bool Pattern::fits_below_root(Fields& fields) const {
    const bool group = root != Class::any && root != Class::atom;
    if (group && nodes[0].min_count > 0 && !fields.at(nodes[0].min_count - 1).valid()) return false;
    for (size_t i = group ? 1 : 0; i < nodes.size(); ++i)
        if (!has_class(nodes[i], fields)) return false;
    for (const Path& path : present)
        if (!fields.walk(path).valid()) return false;
    return true;
}

bool Pattern::matches(View value, std::vector<View>* out) const {
    Fields fields(value);
    if (!fits(fields)) return false;
    for (size_t i = 0; i < constants.size(); ++i) {
        View found = fields.walk(constant_paths[i]);
        if (!found.valid() || !(found == constants[i].view())) return false;
    }
    if (out) out->clear();
    for (const Path& path : captures) {
        View found = fields.walk(path);
        if (!found.valid()) return false;
        if (out) out->push_back(found);
    }
    return true;
}

Value Pattern::shape() const {
    Encoder out;
    out.begin_sequence();
    out.integer(static_cast<int>(root));
    out.begin_sequence();
    for (const Node& node : nodes) {
        out.begin_sequence();
        encode_path(node.path, out);
        out.integer(static_cast<int>(node.type));
        if (node.label.valid()) out.value(node.label);
        out.integer(node.min_count);
        out.end();
    }
    out.end();
    encode_paths(present, out);
    encode_paths(constant_paths, out);
    encode_paths(captures, out);
    out.end();
    Result<Value> result = out.finish();
    return result ? *std::move(result) : Value();
}

namespace pattern {

namespace {

// Opens <group TYPE {; `close_group` closes it.
void open_group(Encoder& out, std::string_view type, View label) {
    out.begin_record();
    out.symbol("group");
    out.begin_record();
    out.symbol(type);
    if (label.valid()) out.value(label);
    out.end();
    out.begin_dictionary();
}

void close_group(Encoder& out) {
    out.end();
    out.end();
}

Value group(std::string_view type, View label, std::initializer_list<View> items) {
    Encoder out;
    open_group(out, type, label);
    int64_t index = 0;
    for (View item : items) {
        if (item.valid()) {
            out.integer(index);
            out.value(item);
        }
        ++index;
    }
    close_group(out);
    Result<Value> result = out.finish();
    return result ? *std::move(result) : Value();
}

// Bounded by the depth of values.
bool encode_literal(View value, Encoder& out) {
    switch (value.kind()) {
    case Kind::record:
    case Kind::sequence: {
        bool is_record = value.is(Kind::record);
        open_group(out, is_record ? "rec" : "arr", value.label());
        int64_t index = 0;
        for (View item : value.items()) {
            out.integer(index++);
            if (!encode_literal(item, out)) return false;
        }
        close_group(out);
        return true;
    }
    case Kind::dictionary: {
        open_group(out, "dict", {});
        bool key = true;
        for (View item : value.items()) {
            if (key)
                out.value(item);
            else if (!encode_literal(item, out))
                return false;
            key = !key;
        }
        close_group(out);
        return true;
    }
    case Kind::set:
        return false;
    default:
        out.begin_record();
        out.symbol("lit");
        out.value(value);
        out.end();
        return true;
    }
}

bool encode_constant(View wire, Encoder& out) {
    if (wire.is_record("bind", 1)) return encode_constant(wire.at(0), out);
    if (wire.is_record("lit", 1)) {
        if (wire.at(0).is_compound()) return false;
        out.value(wire.at(0));
        return true;
    }
    if (!wire.is_record("group", 2) || !wire.at(1).is(Kind::dictionary)) return false;
    View type = wire.at(0);
    View entries = wire.at(1);
    if (type.is_record("dict")) {
        out.begin_dictionary();
        bool key = true;
        for (View item : entries.items()) {
            if (key)
                out.value(item);
            else if (!encode_constant(item, out))
                return false;
            key = !key;
        }
        out.end();
        return true;
    }
    if (type.is_record("rec", 1)) {
        out.begin_record();
        out.value(type.at(0));
    } else if (type.is_record("arr")) {
        out.begin_sequence();
    } else {
        return false;
    }
    // Keys 0…n−1 without a hole: every one of them is found.
    size_t count = entries.count();
    for (size_t i = 0; i < count; ++i) {
        View item = entries.get(preserves::integer(static_cast<int64_t>(i)).view());
        if (!item.valid() || !encode_constant(item, out)) return false;
    }
    out.end();
    return true;
}

} // namespace

Value discard() { return preserves::record("_", {}); }
Value bind(View inner) { return preserves::record("bind", {inner}); }
Value bind() { return bind(discard()); }

Value literal(View value) {
    Encoder out;
    if (!value.valid() || !encode_literal(value, out)) return {};
    Result<Value> result = out.finish();
    return result ? *std::move(result) : Value();
}

Value record(std::string_view label, std::initializer_list<View> fields) {
    return group("rec", preserves::symbol(label), fields);
}
Value record(View label, std::initializer_list<View> fields) { return group("rec", label, fields); }
Value sequence(std::initializer_list<View> items) { return group("arr", {}, items); }

Value dictionary(std::initializer_list<std::pair<std::string_view, View>> symbol_keys) {
    Encoder out;
    open_group(out, "dict", {});
    for (const auto& [key, item] : symbol_keys) {
        out.symbol(key);
        out.value(item);
    }
    close_group(out);
    Result<Value> result = out.finish();
    return result ? *std::move(result) : Value();
}

Value constant_value(View wire) {
    Encoder out;
    if (!wire.valid() || !encode_constant(wire, out)) return {};
    Result<Value> result = out.finish();
    return result ? *std::move(result) : Value();
}

} // namespace pattern

} // namespace muster::dataspace
