#include "init/dataspace/caveat.h"

#include <algorithm>
#include <vector>

#include "init/dataspace/actor.h"
#include "init/preserves/encoder.h"

namespace muster::dataspace {

namespace {

using preserves::Encoder;
using preserves::Kind;

// ---- Form: is it a caveat at all, and a sound one? --------------------------------------------
//
// The wire form is walked directly, by recursion: values nest at most max_depth deep. Records may
// have more fields than the schema says (reference 1.6). What does not parse is not an error: it
// is an unknown caveat, which rejects everything.

struct PatternFacts {
    size_t binds = 0;
    bool bind_under_not = false;
};

bool is_class_name(std::string_view name) {
    return name == "Boolean" || name == "Double" || name == "SignedInteger" || name == "String" ||
           name == "ByteString" || name == "Symbol" || name == "Embedded";
}

bool check_pattern(View pattern, bool negated, PatternFacts& facts) {
    if (auto name = pattern.as_symbol()) return is_class_name(*name);
    if (pattern.is_record("_")) return true;
    if (pattern.is_record("lit", 1)) return true;
    if (pattern.is_record("bind", 1)) {
        ++facts.binds;
        facts.bind_under_not |= negated;
        return check_pattern(pattern.at(0), negated, facts);
    }
    if (pattern.is_record("not", 1)) return check_pattern(pattern.at(0), true, facts);
    View parts;
    if (pattern.is_record("and", 1) || pattern.is_record("arr", 1)) {
        parts = pattern.at(0);
    } else if (pattern.is_record("rec", 2)) {
        parts = pattern.at(1);
    } else if (pattern.is_record("dict", 1)) {
        View entries = pattern.at(0);
        if (!entries.is(Kind::dictionary)) return false;
        bool value = false;
        for (View item : entries.items()) {
            if (value && !check_pattern(item, negated, facts)) return false;
            value = !value;
        }
        return true;
    } else {
        return false;
    }
    if (!parts.is(Kind::sequence)) return false;
    for (View part : parts.items()) {
        if (!check_pattern(part, negated, facts)) return false;
    }
    return true;
}

enum class Verdict : uint8_t { sound, unknown, unsound };
Verdict check_caveat(View caveat, std::string& problem);

Verdict check_all(View parts, bool values_only, auto&& check) {
    bool value = !values_only;
    for (View part : parts.items()) {
        if (value) {
            Verdict verdict = check(part);
            if (verdict != Verdict::sound) return verdict;
        }
        if (values_only) value = !value;
    }
    return Verdict::sound;
}

Verdict check_template(View shape, size_t binds, std::string& problem) {
    auto recurse = [&](View part) { return check_template(part, binds, problem); };
    if (shape.is_record("lit", 1)) return Verdict::sound;
    if (shape.is_record("ref", 1)) {
        if (!shape.at(0).is(Kind::integer)) return Verdict::unknown;
        auto index = shape.at(0).as_int();
        if (index && *index >= 0 && static_cast<uint64_t>(*index) < binds) return Verdict::sound;
        problem = "UnboundRef: the template refers to a bind that its pattern does not have";
        return Verdict::unsound;
    }
    if (shape.is_record("attenuate", 2)) {
        if (!shape.at(1).is(Kind::sequence)) return Verdict::unknown;
        if (shape.at(1).count() > Caveats::max_caveats) {
            problem = "more than 64 caveats in <attenuate …>";
            return Verdict::unsound;
        }
        Verdict verdict = recurse(shape.at(0));
        if (verdict != Verdict::sound) return verdict;
        // An unknown caveat in here is one that rejects everything; that is sound.
        for (View caveat : shape.at(1).items()) {
            if (check_caveat(caveat, problem) == Verdict::unsound) return Verdict::unsound;
        }
        return Verdict::sound;
    }
    if (shape.is_record("rec", 2)) {
        if (!shape.at(1).is(Kind::sequence)) return Verdict::unknown;
        return check_all(shape.at(1), false, recurse);
    }
    if (shape.is_record("arr", 1)) {
        if (!shape.at(0).is(Kind::sequence)) return Verdict::unknown;
        return check_all(shape.at(0), false, recurse);
    }
    if (shape.is_record("dict", 1)) {
        if (!shape.at(0).is(Kind::dictionary)) return Verdict::unknown;
        return check_all(shape.at(0), true, recurse);
    }
    return Verdict::unknown;
}

Verdict check_rewrite(View rewrite, std::string& problem) {
    if (!rewrite.is_record("rewrite", 2)) return Verdict::unknown;
    PatternFacts facts;
    if (!check_pattern(rewrite.at(0), false, facts)) return Verdict::unknown;
    Verdict verdict = check_template(rewrite.at(1), facts.binds, problem);
    if (verdict == Verdict::sound && facts.bind_under_not) {
        problem = "BindingUnderNegation: <bind …> within <not …>";
        return Verdict::unsound;
    }
    return verdict;
}

Verdict check_caveat(View caveat, std::string& problem) {
    if (caveat.is_record("rewrite", 2)) return check_rewrite(caveat, problem);
    if (caveat.is_record("reject", 1)) {
        PatternFacts facts;
        if (!check_pattern(caveat.at(0), false, facts)) return Verdict::unknown;
        if (!facts.bind_under_not) return Verdict::sound;
        problem = "BindingUnderNegation: <bind …> within <not …>";
        return Verdict::unsound;
    }
    if (caveat.is_record("or", 1) && caveat.at(0).is(Kind::sequence)) {
        Verdict result = Verdict::sound;
        for (View alternative : caveat.at(0).items()) {
            Verdict verdict = check_rewrite(alternative, problem);
            if (verdict == Verdict::unsound) return verdict;
            if (verdict == Verdict::unknown) result = verdict;
        }
        return result;
    }
    return Verdict::unknown;
}

// ---- Matching
// ------------------------------------------------------------------------------------

using Bindings = std::vector<View>;

bool matches(View pattern, View value, Bindings& bindings);

bool matches_class(std::string_view name, View value) {
    switch (value.kind()) {
    case Kind::boolean:
        return name == "Boolean";
    case Kind::number:
        return name == "Double";
    case Kind::integer:
        return name == "SignedInteger";
    case Kind::string:
        return name == "String";
    case Kind::bytes:
        return name == "ByteString";
    case Kind::symbol:
        return name == "Symbol";
    case Kind::embedded:
        return name == "Embedded";
    default:
        return false;
    }
}

// Exactly as many items as patterns, each matching.
bool matches_each(View patterns, View value, Bindings& bindings) {
    auto item = value.items().begin();
    for (View pattern : patterns.items()) {
        if (item == std::default_sentinel || !matches(pattern, *item, bindings)) return false;
        ++item;
    }
    return item == std::default_sentinel;
}

// Captures are numbered by the keys in Preserves order, which is not the order of the bytes.
struct Entry {
    View key;
    View pattern;
    View value;
};

bool matches_entries(View entries, View value, Bindings& bindings) {
    // Both dictionaries stand in the order of their keys' bytes: one walk through both.
    std::vector<Entry> found;
    auto have = value.items().begin();
    auto want = entries.items().begin();
    while (want != std::default_sentinel) {
        View key = *want;
        while (have != std::default_sentinel && !(*have == key)) {
            ++have;
            ++have;
        }
        if (have == std::default_sentinel) return false;
        ++have;
        ++want;
        found.push_back({key, *want, *have});
        ++have;
        ++want;
    }
    std::sort(found.begin(), found.end(),
              [](const Entry& a, const Entry& b) { return compare(a.key, b.key) < 0; });
    for (const Entry& entry : found) {
        if (!matches(entry.pattern, entry.value, bindings)) return false;
    }
    return true;
}

// REQUIRES: check_pattern said so. On false, `bindings` may hold some more.
bool matches(View pattern, View value, Bindings& bindings) {
    if (auto name = pattern.as_symbol()) return matches_class(*name, value);
    std::string_view form = *pattern.label().as_symbol();
    if (form == "_") return true;
    if (form == "lit") return pattern.at(0) == value;
    if (form == "bind") {
        bindings.push_back(value);
        return matches(pattern.at(0), value, bindings);
    }
    if (form == "not") return !matches(pattern.at(0), value, bindings);
    if (form == "and") {
        for (View part : pattern.at(0).items()) {
            if (!matches(part, value, bindings)) return false;
        }
        return true;
    }
    if (form == "rec") {
        return value.is(Kind::record) && value.label() == pattern.at(0) &&
               matches_each(pattern.at(1), value, bindings);
    }
    if (form == "arr") {
        return value.is(Kind::sequence) && matches_each(pattern.at(0), value, bindings);
    }
    return value.is(Kind::dictionary) && matches_entries(pattern.at(0), value, bindings);
}

// ---- Rewriting
// -----------------------------------------------------------------------------------

// What the result will take, before any of it is built; stops counting at max_output. (How deep it
// nests is the encoder's business.)
bool within_bounds(View shape, const Bindings& bindings, size_t& size) {
    std::string_view form = *shape.label().as_symbol();
    size += 2;
    if (form == "lit" || form == "ref") {
        View value = form == "lit" ? shape.at(0) : bindings[*shape.at(0).as_int()];
        size += value.bytes().size();
        return size <= Caveats::max_output;
    }
    if (form == "attenuate") return within_bounds(shape.at(0), bindings, size);
    if (form == "rec") size += shape.at(0).bytes().size();
    bool is_template = form != "dict";
    for (View part : shape.at(form == "rec" ? 1 : 0).items()) {
        if (!is_template) {
            size += part.bytes().size();
        } else if (!within_bounds(part, bindings, size)) {
            return false;
        }
        if (form == "dict") is_template = !is_template;
    }
    return size <= Caveats::max_output;
}

// Appends the instance; false if something is attenuated that is not a capability.
bool instantiate(View shape, const Bindings& bindings, Encoder& out) {
    std::string_view form = *shape.label().as_symbol();
    if (form == "lit") {
        out.value(shape.at(0));
        return true;
    }
    if (form == "ref") {
        out.value(bindings[*shape.at(0).as_int()]);
        return true;
    }
    if (form == "attenuate") {
        Encoder inner;
        if (!instantiate(shape.at(0), bindings, inner)) return false;
        Result<Value> target = inner.finish();
        if (!target) return false;
        CapRef cap = cap_of(*target);
        if (!cap) return false;
        if (shape.at(1).count() == 0) {
            out.value(*target);
            return true;
        }
        Result<Ref<Caveats>> all = Caveats::join(cap->caveats(), shape.at(1));
        if (!all) return false;
        out.embedded(make_ref<Cap>(&cap->facet(), &cap->entity(), *all));
        return true;
    }
    if (form == "rec") {
        out.begin_record();
        out.value(shape.at(0));
    } else if (form == "arr") {
        out.begin_sequence();
    } else {
        out.begin_dictionary();
    }
    bool is_template = form != "dict";
    for (View part : shape.at(form == "rec" ? 1 : 0).items()) {
        if (!is_template) {
            out.value(part);
        } else if (!instantiate(part, bindings, out)) {
            return false;
        }
        if (form == "dict") is_template = !is_template;
    }
    out.end();
    return true;
}

std::optional<Value> rewrite(View rule, const Value& value, Bindings& bindings, bool& matched) {
    bindings.clear();
    matched = matches(rule.at(0), value, bindings);
    if (!matched) return std::nullopt;
    View shape = rule.at(1);
    if (shape.is_record("ref") && bindings[*shape.at(0).as_int()] == value.view()) return value;
    size_t size = 0;
    if (!within_bounds(shape, bindings, size)) return std::nullopt;
    Encoder out;
    if (!instantiate(shape, bindings, out)) return std::nullopt;
    Result<Value> result = out.finish();
    if (!result) return std::nullopt;
    return std::move(*result);
}

// REQUIRES: check_caveat found `caveat` sound.
std::optional<Value> apply_one(View caveat, const Value& value) {
    Bindings bindings;
    bool matched = false;
    if (caveat.is_record("rewrite")) return rewrite(caveat, value, bindings, matched);
    if (caveat.is_record("reject")) {
        if (matches(caveat.at(0), value, bindings)) return std::nullopt;
        return value;
    }
    for (View alternative : caveat.at(0).items()) {
        std::optional<Value> result = rewrite(alternative, value, bindings, matched);
        if (matched) return result;
    }
    return std::nullopt;
}

} // namespace

Result<Ref<Caveats>> Caveats::parse(View sequence) {
    if (!sequence.is(Kind::sequence)) return Error{"caveats are not a sequence"};
    size_t count = 0;
    bool unknown = false;
    for (View caveat : sequence.items()) {
        if (++count > max_caveats) return Error{"more than 64 caveats on one capability"};
        std::string problem;
        Verdict verdict = check_caveat(caveat, problem);
        if (verdict == Verdict::unsound) {
            return Error{"caveat " + std::to_string(count) + ": " + problem};
        }
        unknown |= verdict == Verdict::unknown;
    }
    return Ref<Caveats>(new Caveats(Value(sequence), unknown));
}

Result<Ref<Caveats>> Caveats::join(const Ref<Caveats>& older, View more) {
    Result<Ref<Caveats>> newer = parse(more);
    if (!newer || !older) return newer;
    if (more.count() == 0) return older;
    if (older->wire_.view().count() + more.count() > max_caveats) {
        return Error{"more than 64 caveats on one capability"};
    }
    Encoder out;
    out.begin_sequence();
    for (View caveat : older->wire_.view().items())
        out.value(caveat);
    for (View caveat : more.items())
        out.value(caveat);
    out.end();
    Result<Value> wire = out.finish();
    if (!wire) return wire.error();
    return Ref<Caveats>(
        new Caveats(std::move(*wire), older->rejects_all_ || (*newer)->rejects_all_));
}

std::optional<Value> Caveats::apply(const Value& value) const {
    if (rejects_all_) return std::nullopt;
    // Newest first: the sequence can only be read forwards, so its items are noted down.
    View items[max_caveats];
    size_t count = 0;
    for (View caveat : wire_.view().items())
        items[count++] = caveat;
    std::optional<Value> result = value;
    while (count > 0 && result)
        result = apply_one(items[--count], *result);
    return result;
}

} // namespace muster::dataspace
