#include "init/dataspace/caveat.h"

#include <algorithm>
#include <vector>

#include "init/dataspace/actor.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/encoder.h"

namespace muster::dataspace {

namespace {

using preserves::Encoder;
using preserves::Kind;

// How often the bytes of a value may be looked at by all caveats together.
constexpr size_t max_looks = 16;

// ---- Form: is it a caveat at all, and a sound one? --------------------------------------------
//
// The wire form is walked directly, by recursion, at most max_nesting deep. Records may
// have more fields than the schema says (reference 1.6). What does not parse is not an error: it
// is an unknown caveat, which rejects everything.

// What is unknown counts more than what is unsound.
enum class Verdict : uint8_t { sound, unsound, unknown };

struct Checker {
    std::string problem; // the first one, if unsound
    size_t depth = 0;

    struct Level {
        explicit Level(size_t& depth) : depth_(depth) { ++depth_; }
        ~Level() { --depth_; }
        size_t& depth_;
    };

    Verdict unsound(const char* what) {
        if (problem.empty()) problem = what;
        return Verdict::unsound;
    }
    Verdict too_deep() { return unsound("patterns and templates nest more than 32 deep"); }

    Verdict pattern(View form, bool negated, size_t& binds);
    Verdict shape(View form, size_t binds); // a template
    Verdict rewrite(View rule);
    Verdict caveat(View caveat);

    // The worst of a sequence, or of the values of a dictionary.
    Verdict each(View parts, bool dictionary, auto&& check) {
        if (!parts.is(dictionary ? Kind::dictionary : Kind::sequence)) return Verdict::unknown;
        Verdict worst = Verdict::sound;
        bool key = dictionary;
        for (View part : parts.items()) {
            if (!key) worst = std::max(worst, check(part));
            if (worst == Verdict::unknown) return worst;
            if (dictionary) key = !key;
        }
        return worst;
    }
};

bool is_class_name(std::string_view name) {
    return name == "Boolean" || name == "Double" || name == "SignedInteger" || name == "String" ||
           name == "ByteString" || name == "Symbol" || name == "Embedded";
}

Verdict Checker::pattern(View form, bool negated, size_t& binds) {
    Level level(depth);
    if (depth > Caveats::max_nesting) return too_deep();
    if (auto name = form.as_symbol())
        return is_class_name(*name) ? Verdict::sound : Verdict::unknown;
    std::string_view label = form.label().as_symbol().value_or("");
    if (label == "_") return Verdict::sound;
    View first = form.at(0);
    if (!first.valid()) return Verdict::unknown;
    auto part = [&](View inner) { return pattern(inner, negated, binds); };
    if (label == "lit") return Verdict::sound;
    if (label == "not") return pattern(first, true, binds);
    if (label == "and" || label == "arr") return each(first, false, part);
    if (label == "rec") return each(form.at(1), false, part);
    if (label == "dict") return each(first, true, part);
    if (label != "bind") return Verdict::unknown;
    ++binds;
    Verdict inner = part(first);
    if (!negated) return inner;
    return std::max(inner, unsound("BindingUnderNegation: <bind …> within <not …>"));
}

Verdict Checker::shape(View form, size_t binds) {
    Level level(depth);
    if (depth > Caveats::max_nesting) return too_deep();
    std::string_view label = form.label().as_symbol().value_or("");
    View first = form.at(0);
    if (!first.valid()) return Verdict::unknown;
    auto part = [&](View inner) { return shape(inner, binds); };
    if (label == "lit") return Verdict::sound;
    if (label == "arr") return each(first, false, part);
    if (label == "rec") return each(form.at(1), false, part);
    if (label == "dict") return each(first, true, part);
    if (label == "ref") {
        if (!first.is(Kind::integer)) return Verdict::unknown;
        auto index = first.as_int();
        if (index && *index >= 0 && static_cast<uint64_t>(*index) < binds) return Verdict::sound;
        return unsound("UnboundRef: the template refers to a bind that its pattern does not have");
    }
    if (label != "attenuate") return Verdict::unknown;
    View more = form.at(1);
    if (!more.is(Kind::sequence)) return Verdict::unknown;
    Verdict verdict = part(first);
    if (more.count() > Caveats::max_caveats)
        verdict = std::max(verdict, unsound("more than 64 caveats in <attenuate …>"));
    // An unknown caveat in here is one that rejects everything; that is sound.
    for (View inner : more.items())
        if (caveat(inner) == Verdict::unsound) verdict = std::max(verdict, Verdict::unsound);
    return verdict;
}

Verdict Checker::rewrite(View rule) {
    if (!rule.is_record("rewrite", 2)) return Verdict::unknown;
    size_t binds = 0;
    Verdict first = pattern(rule.at(0), false, binds);
    return std::max(first, shape(rule.at(1), binds));
}

Verdict Checker::caveat(View caveat) {
    if (caveat.is_record("rewrite")) return rewrite(caveat);
    size_t binds = 0;
    if (caveat.is_record("reject", 1)) return pattern(caveat.at(0), false, binds);
    if (caveat.is_record("or", 1))
        return each(caveat.at(0), false, [&](View rule) { return rewrite(rule); });
    return Verdict::unknown;
}

// ---- Matching ---------------------------------------------------------------------------------

// Of one rule and one value; all caveats that apply to it share the work that is allowed.
struct Bindings {
    std::vector<View> views;
    size_t work_left; // bytes to look at, of pattern and value, and to produce
    size_t size_left; // bytes that this rule may produce
    std::optional<Bound> exceeded = std::nullopt; // then the answer means nothing

    View operator[](View ref) const { return views[static_cast<size_t>(*ref.at(0).as_int())]; }
    bool exceeds(Bound bound) {
        if (!exceeded) exceeded = bound;
        return false;
    }
    bool spend(size_t amount, size_t& left, Bound bound) {
        if (exceeded || amount > left) return exceeds(bound);
        left -= amount;
        return true;
    }
    bool pay(size_t work) { return spend(work, work_left, Bound::caveat_looks); }
    bool take(size_t size) { return spend(size, size_left, Bound::rewritten_size) && pay(size); }
};

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

// REQUIRES: Checker::pattern found it sound. On false, `bindings` may hold some more; if a bound
// is exceeded the answer means nothing.
bool matches(View pattern, View value, Bindings& bindings) {
    if (!bindings.pay(pattern.bytes().size())) return false;
    if (auto name = pattern.as_symbol()) return matches_class(*name, value);
    std::string_view form = *pattern.label().as_symbol();
    if (form == "_") return true;
    if (form == "lit") return pattern.at(0) == value;
    if (form == "bind") {
        bindings.views.push_back(value);
        return matches(pattern.at(0), value, bindings);
    }
    if (form == "not") return !matches(pattern.at(0), value, bindings);
    if (form == "and") {
        for (View part : pattern.at(0).items()) {
            if (!matches(part, value, bindings)) return false;
        }
        return true;
    }
    if (value.is_compound() && !bindings.pay(value.bytes().size())) return false;
    if (form == "rec") {
        return value.is(Kind::record) && value.label() == pattern.at(0) &&
               matches_each(pattern.at(1), value, bindings);
    }
    if (form == "arr") {
        return value.is(Kind::sequence) && matches_each(pattern.at(0), value, bindings);
    }
    return value.is(Kind::dictionary) && matches_entries(pattern.at(0), value, bindings);
}

// ---- Rewriting --------------------------------------------------------------------------------

View reference(View shape, const Bindings& bindings) {
    return shape.is_record("lit") ? shape.at(0) : bindings[shape];
}

// What `<attenuate …>` builds: a list of all caveats, those that are there already included.
size_t attenuation_size(View shape, const Bindings& bindings) {
    size_t size = 0;
    for (; shape.is_record("attenuate"); shape = shape.at(0))
        size += shape.at(1).bytes().size() + sizeof(Cap);
    if (!shape.is_record("lit") && !shape.is_record("ref")) return size;
    CapRef cap = cap_of(reference(shape, bindings));
    return cap && cap->caveats() ? size + cap->caveats()->wire().bytes().size() : size;
}

// Whether what the result will take is allowed, before any of it is built. (How deep it nests is
// the encoder's business.)
bool within_bounds(View shape, Bindings& bindings) {
    std::string_view form = *shape.label().as_symbol();
    auto take = [&](size_t size) { return bindings.take(size); };
    if (!take(2) || !bindings.pay(shape.bytes().size())) return false;
    if (form == "lit" || form == "ref") return take(reference(shape, bindings).bytes().size());
    if (form == "attenuate")
        return take(attenuation_size(shape, bindings)) && within_bounds(shape.at(0), bindings);
    if (form == "rec" && !take(shape.at(0).bytes().size())) return false;
    bool key = form == "dict";
    for (View part : shape.at(form == "rec" ? 1 : 0).items()) {
        if (key ? !take(part.bytes().size()) : !within_bounds(part, bindings)) return false;
        if (form == "dict") key = !key;
    }
    return true;
}

// Appends the instance; false if something is attenuated that is not a capability, or too often.
bool instantiate(View shape, Bindings& bindings, Encoder& out) {
    std::string_view form = *shape.label().as_symbol();
    if (form == "lit") {
        out.value(shape.at(0));
        return true;
    }
    if (form == "ref") {
        out.value(bindings[shape]);
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
        if (!all) return bindings.exceeds(Bound::rewritten_caveats);
        out.embedded(cap->attenuate(*all)); // its entity may be gone
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
    bindings.views.clear();
    matched = matches(rule.at(0), value, bindings) || bindings.exceeded;
    if (!matched || bindings.exceeded) return std::nullopt;
    View shape = rule.at(1);
    if (shape.is_record("ref") && bindings[shape] == value.view()) return value;
    if (!within_bounds(shape, bindings)) return std::nullopt;
    Encoder out;
    if (!instantiate(shape, bindings, out)) return std::nullopt;
    Result<Value> result = out.finish();
    // All that the encoder can find wrong with it is how deep it nests.
    if (!result || !dataspace::within_bounds(result->bytes())) {
        const bool large = result && result->bytes().size() > Pattern::max_captures;
        bindings.exceeds(large ? Bound::rewritten_size : Bound::rewritten_depth);
        return std::nullopt;
    }
    return std::move(*result);
}

// REQUIRES: Checker found `caveat` sound.
std::optional<Value> apply_one(View caveat, const Value& value, Bindings& bindings) {
    bool matched = false;
    if (caveat.is_record("rewrite")) return rewrite(caveat, value, bindings, matched);
    if (caveat.is_record("reject")) {
        bindings.views.clear();
        if (matches(caveat.at(0), value, bindings) || bindings.exceeded) return std::nullopt;
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
    if (sequence.bytes().size() > max_size)
        return Error{"more than 16384 bytes of caveats on one capability"};
    size_t count = 0;
    bool unknown = false;
    for (View caveat : sequence.items()) {
        if (++count > max_caveats) return Error{"more than 64 caveats on one capability"};
        Checker checker;
        Verdict verdict = checker.caveat(caveat);
        if (verdict == Verdict::unsound)
            return Error{"caveat " + std::to_string(count) + ": " + checker.problem};
        unknown |= verdict == Verdict::unknown;
    }
    return Ref<Caveats>(new Caveats(Value(sequence), unknown));
}

Result<Ref<Caveats>> Caveats::join(const Ref<Caveats>& older, View more) {
    Result<Ref<Caveats>> newer = parse(more);
    if (!newer || !older) return newer;
    if (more.count() == 0) return older;
    if (older->wire_.view().count() + more.count() > max_caveats)
        return Error{"more than 64 caveats on one capability"};
    if (older->wire_.bytes().size() + more.bytes().size() > max_size)
        return Error{"more than 16384 bytes of caveats on one capability"};
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

std::optional<Value> Caveats::apply(const Value& value, std::optional<Bound>* exceeded) const {
    if (rejects_all_) return std::nullopt;
    // Newest first: the sequence can only be read forwards, so its items are noted down.
    View items[max_caveats];
    size_t count = 0;
    for (View caveat : wire_.view().items())
        items[count++] = caveat;
    size_t size = value.bytes().size();
    Bindings bindings{{}, max_growth + max_looks * size, 0};
    std::optional<Value> result = value;
    while (count > 0 && result) {
        bindings.size_left = max_growth + size;
        result = apply_one(items[--count], *result, bindings);
    }
    if (exceeded) *exceeded = bindings.exceeded;
    return result;
}

} // namespace muster::dataspace
