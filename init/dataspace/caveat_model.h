// For tests: what caveats mean (reference 2.8), written a second time and without a thought for
// speed, on trees of its own; and random caveats and values to compare the two with.
#pragma once

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "init/dataspace/actor.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"

namespace muster::dataspace::model {

using preserves::Kind;

// A value as a tree. Capabilities are the entity and the caveats on it, newest last.
struct Node {
    Kind kind = Kind::boolean;
    std::string atom;        // its text
    std::vector<Node> items; // fields after the label, elements, keys and values in turn
    const void* entity = nullptr;
    std::vector<Node> caveats;
    Value value; // for ordering keys
};

inline Node tree(View view) {
    Node node;
    node.kind = view.kind();
    if (CapRef cap = cap_of(view)) {
        node.entity = &cap->entity();
        if (cap->caveats())
            for (View caveat : cap->caveats()->wire().view().items())
                node.caveats.push_back(tree(caveat));
    } else if (view.is_compound()) {
        if (view.is(Kind::record)) node.items.push_back(tree(view.label()));
        for (View item : view.items())
            node.items.push_back(tree(item));
        if (!view.may_embed()) node.value = Value(view);
    } else {
        node.atom = preserves::to_text(view);
        node.value = Value(view);
    }
    return node;
}

// Names entities by who they are for; null: any other.
using Names = std::vector<std::pair<const void*, std::string>>;

inline std::string show(const Node& node, const Names& names = {}) {
    if (!node.atom.empty()) return node.atom;
    if (node.entity) {
        std::string text = "?";
        for (const auto& [entity, name] : names)
            if (entity == node.entity) text = name;
        text = "#:" + text + "{";
        for (const Node& caveat : node.caveats)
            text += show(caveat, names) + " ";
        return text + "}";
    }
    std::string text = std::to_string(static_cast<int>(node.kind)) + "(";
    for (const Node& item : node.items)
        text += show(item, names) + " ";
    return text + ")";
}

inline bool same(const Node& a, const Node& b) {
    if (a.kind != b.kind || a.atom != b.atom || a.entity != b.entity) return false;
    auto all = [](const std::vector<Node>& x, const std::vector<Node>& y) {
        return x.size() == y.size() && std::equal(x.begin(), x.end(), y.begin(), same);
    };
    return all(a.items, b.items) && all(a.caveats, b.caveats);
}

inline bool is(const Node& node, const char* label, size_t fields) {
    return node.kind == Kind::record && node.items[0].atom == label &&
           node.items.size() >= fields + 1;
}
inline const Node& field(const Node& record, size_t index) { return record.items[index + 1]; }

// ---- Is it a caveat? -------------------------------------------------------------------------

enum class Form { good, bad, unknown }; // bad: UnboundRef, BindingUnderNegation

inline Form worse(Form a, Form b) { return std::max(a, b); }

inline bool is_list(const Node& node) { return node.kind == Kind::sequence; }

inline Form pattern_form(const Node& p, bool negated, int& binds) {
    static const std::vector<std::string> classes{"Boolean",    "Double", "SignedInteger", "String",
                                                  "ByteString", "Symbol", "Embedded"};
    if (p.kind == Kind::symbol)
        return std::count(classes.begin(), classes.end(), p.atom) ? Form::good : Form::unknown;
    if (is(p, "_", 0) || is(p, "lit", 1)) return Form::good;
    if (is(p, "bind", 1)) {
        ++binds;
        Form inner = pattern_form(field(p, 0), negated, binds);
        return negated ? worse(inner, Form::bad) : inner;
    }
    if (is(p, "not", 1)) return pattern_form(field(p, 0), true, binds);
    Form form = Form::good;
    if ((is(p, "and", 1) || is(p, "arr", 1)) && is_list(field(p, 0))) {
        for (const Node& part : field(p, 0).items)
            form = worse(form, pattern_form(part, negated, binds));
        return form;
    }
    if (is(p, "rec", 2) && is_list(field(p, 1))) {
        for (const Node& part : field(p, 1).items)
            form = worse(form, pattern_form(part, negated, binds));
        return form;
    }
    if (is(p, "dict", 1) && field(p, 0).kind == Kind::dictionary) {
        const auto& entries = field(p, 0).items;
        for (size_t i = 1; i < entries.size(); i += 2)
            form = worse(form, pattern_form(entries[i], negated, binds));
        return form;
    }
    return Form::unknown;
}

inline Form caveat_form(const Node& caveat);

inline Form template_form(const Node& t, int binds) {
    Form form = Form::good;
    if (is(t, "lit", 1)) return form;
    if (is(t, "ref", 1) && field(t, 0).kind == Kind::integer) {
        long long index = std::atoll(field(t, 0).atom.c_str());
        return index >= 0 && index < binds ? Form::good : Form::bad;
    }
    if (is(t, "attenuate", 2) && is_list(field(t, 1))) {
        form = template_form(field(t, 0), binds);
        for (const Node& caveat : field(t, 1).items)
            if (caveat_form(caveat) == Form::bad) form = worse(form, Form::bad);
        return form;
    }
    if (is(t, "arr", 1) && is_list(field(t, 0))) {
        for (const Node& part : field(t, 0).items)
            form = worse(form, template_form(part, binds));
        return form;
    }
    if (is(t, "rec", 2) && is_list(field(t, 1))) {
        for (const Node& part : field(t, 1).items)
            form = worse(form, template_form(part, binds));
        return form;
    }
    if (is(t, "dict", 1) && field(t, 0).kind == Kind::dictionary) {
        for (size_t i = 1; i < field(t, 0).items.size(); i += 2)
            form = worse(form, template_form(field(t, 0).items[i], binds));
        return form;
    }
    return Form::unknown;
}

inline Form rewrite_form(const Node& rule) {
    if (!is(rule, "rewrite", 2)) return Form::unknown;
    int binds = 0;
    Form form = pattern_form(field(rule, 0), false, binds);
    return worse(form, template_form(field(rule, 1), binds));
}

inline Form caveat_form(const Node& caveat) {
    int binds = 0;
    if (is(caveat, "rewrite", 2)) return rewrite_form(caveat);
    if (is(caveat, "reject", 1)) return pattern_form(field(caveat, 0), false, binds);
    if (!is(caveat, "or", 1) || !is_list(field(caveat, 0))) return Form::unknown;
    Form form = Form::good;
    for (const Node& rule : field(caveat, 0).items)
        form = worse(form, rewrite_form(rule));
    return form;
}

// ---- What does it do? ------------------------------------------------------------------------

inline bool matches(const Node& p, const Node& v, std::vector<Node>& captures) {
    if (p.kind == Kind::symbol) {
        static const std::vector<std::pair<std::string, Kind>> classes{
            {"Boolean", Kind::boolean},       {"Double", Kind::number},
            {"SignedInteger", Kind::integer}, {"String", Kind::string},
            {"ByteString", Kind::bytes},      {"Symbol", Kind::symbol},
            {"Embedded", Kind::embedded}};
        for (const auto& [name, kind] : classes)
            if (name == p.atom) return v.kind == kind;
        return false;
    }
    const std::string& form = p.items[0].atom;
    if (form == "_") return true;
    if (form == "lit") return same(field(p, 0), v);
    if (form == "bind") {
        captures.push_back(v);
        return matches(field(p, 0), v, captures);
    }
    if (form == "not") return !matches(field(p, 0), v, captures);
    if (form == "and") {
        for (const Node& part : field(p, 0).items)
            if (!matches(part, v, captures)) return false;
        return true;
    }
    if (form == "rec" || form == "arr") {
        bool record = form == "rec";
        if (v.kind != (record ? Kind::record : Kind::sequence)) return false;
        if (record && !same(field(p, 0), v.items[0])) return false;
        const auto& parts = field(p, record ? 1 : 0).items;
        size_t skip = record ? 1 : 0;
        if (parts.size() + skip != v.items.size()) return false;
        for (size_t i = 0; i < parts.size(); ++i)
            if (!matches(parts[i], v.items[i + skip], captures)) return false;
        return true;
    }
    if (v.kind != Kind::dictionary) return false;
    std::vector<size_t> order;
    const auto& entries = field(p, 0).items;
    for (size_t i = 0; i < entries.size(); i += 2)
        order.push_back(i);
    std::sort(order.begin(), order.end(),
              [&](size_t a, size_t b) { return compare(entries[a].value, entries[b].value) < 0; });
    for (size_t i : order) {
        bool found = false;
        for (size_t j = 0; j < v.items.size() && !found; j += 2) {
            if (!same(v.items[j], entries[i])) continue;
            found = true;
            if (!matches(entries[i + 1], v.items[j + 1], captures)) return false;
        }
        if (!found) return false;
    }
    return true;
}

inline std::optional<Node> instance(const Node& t, const std::vector<Node>& captures) {
    const std::string& form = t.items[0].atom;
    if (form == "lit") return field(t, 0);
    if (form == "ref") return captures[static_cast<size_t>(std::atoll(field(t, 0).atom.c_str()))];
    if (form == "attenuate") {
        std::optional<Node> target = instance(field(t, 0), captures);
        if (!target || target->kind != Kind::embedded) return std::nullopt;
        for (const Node& caveat : field(t, 1).items)
            target->caveats.push_back(caveat);
        return target;
    }
    Node node;
    node.kind = form == "rec" ? Kind::record : form == "arr" ? Kind::sequence : Kind::dictionary;
    if (form == "rec") node.items.push_back(field(t, 0));
    const auto& parts = field(t, form == "rec" ? 1 : 0).items;
    for (size_t i = 0; i < parts.size(); ++i) {
        if (form == "dict" && i % 2 == 0) {
            node.items.push_back(parts[i]);
            continue;
        }
        std::optional<Node> part = instance(parts[i], captures);
        if (!part) return std::nullopt;
        node.items.push_back(*part);
    }
    return node;
}

inline std::optional<Node> apply_one(const Node& caveat, const Node& value) {
    if (caveat_form(caveat) != Form::good) return std::nullopt;
    std::vector<Node> captures;
    if (is(caveat, "reject", 1)) {
        if (matches(field(caveat, 0), value, captures)) return std::nullopt;
        return value;
    }
    std::vector<Node> rules{caveat};
    if (is(caveat, "or", 1)) rules = field(caveat, 0).items;
    for (const Node& rule : rules) {
        captures.clear();
        if (matches(field(rule, 0), value, captures)) return instance(field(rule, 1), captures);
    }
    return std::nullopt;
}

// `caveats` as they stand, oldest first.
inline std::optional<Node> apply(const std::vector<Node>& caveats, Node value) {
    for (size_t i = caveats.size(); i-- > 0;) {
        std::optional<Node> next = apply_one(caveats[i], value);
        if (!next) return std::nullopt;
        value = *next;
    }
    return value;
}

// ---- Random caveats and values, as text ------------------------------------------------------

// Over few words, so that patterns match now and then. `embedded` makes a capability.
struct Generator {
    std::mt19937 random;
    std::string (*embedded)(Generator&) = nullptr;

    explicit Generator(unsigned seed) : random(seed) {}
    size_t pick(size_t below) { return random() % below; }
    bool one_in(size_t n) { return pick(n) == 0; }

    template <typename Make>
    std::string list(size_t most, Make make) {
        std::string text = "[";
        for (size_t n = pick(most + 1); n > 0; --n)
            text += make() + " ";
        return text + "]";
    }
    template <typename Make>
    std::string entries(Make make) {
        std::string text = "{";
        for (const char* key : {"a", "bb", "7", "[]", "\"k\""})
            if (one_in(3)) text += std::string(key) + ": " + make() + " ";
        return text + "}";
    }

    std::string atom() {
        static const char* const atoms[] = {"#t",   "1",      "7",     "2.5", "\"s\"",
                                            "\"\"", "#\"b\"", "#\"\"", "x",   "y"};
        return atoms[pick(std::size(atoms))];
    }
    std::string label() {
        static const char* const labels[] = {"a", "b", "lit", "\"l\""};
        return labels[pick(std::size(labels))];
    }
    std::string value(int depth = 3) {
        if (embedded && one_in(5)) return embedded(*this);
        if (depth == 0 || one_in(3)) return atom();
        auto inner = [&] { return value(depth - 1); };
        switch (pick(4)) {
        case 0:
            return "<" + label() + " " + (one_in(2) ? inner() : inner() + " " + inner()) + ">";
        case 1:
            return list(3, inner);
        case 2:
            return "#{" + atom() + "}";
        default:
            return entries(inner);
        }
    }
    // Mostly sound. Counts its binds.
    std::string pattern(size_t& binds, int depth = 3, bool negated = false) {
        static const char* const classes[] = {"Boolean",    "Double", "SignedInteger", "String",
                                              "ByteString", "Symbol", "Embedded"};
        if (one_in(200)) return value(1); // mostly none that is known
        auto inner = [&] { return pattern(binds, depth - 1, negated); };
        switch (depth == 0 ? pick(3) : pick(12)) {
        case 0:
            return "<_>";
        case 1:
            return classes[pick(std::size(classes))];
        case 2:
            return "<lit " + (one_in(4) ? value(1) : atom()) + ">";
        case 3:
            return "<not " + pattern(binds, depth - 1, true) + ">";
        case 4:
            return "<and " + list(3, inner) + ">";
        case 5:
            return "<rec " + label() + " " + list(2, inner) + ">";
        case 6:
            return "<rec " + label() + " [" + inner() + "]>";
        case 7:
            return "<arr " + list(3, inner) + ">";
        case 8:
            return "<dict " + entries(inner) + ">";
        default:
            if (negated && !one_in(30)) return inner();
            ++binds;
            return "<bind " + (one_in(2) ? "<_>" : inner()) + ">";
        }
    }
    std::string shape(size_t binds, int depth = 2) {
        if (one_in(200)) return value(1);
        auto inner = [&] { return shape(binds, depth - 1); };
        switch (depth == 0 ? pick(3) : pick(7)) {
        case 0:
            return "<lit " + value(1) + ">";
        case 1:
        case 2:
            if (binds == 0 && !one_in(10)) return "<lit " + atom() + ">";
            return "<ref " + std::to_string(one_in(60) ? pick(5) : pick(binds + (binds == 0))) +
                   ">";
        case 3:
            return "<rec " + label() + " " + list(3, inner) + ">";
        case 4:
            return "<arr " + list(3, inner) + ">";
        case 5:
            return "<dict " + entries(inner) + ">";
        default:
            return "<attenuate " + inner() + " " + list(2, [&] { return caveat(1); }) + ">";
        }
    }
    std::string rewrite(int depth) {
        size_t binds = 0;
        std::string first = pattern(binds, depth);
        return "<rewrite " + first + " " + shape(binds, depth > 1 ? 2 : 1) + ">";
    }
    std::string caveat(int depth = 3) {
        if (one_in(100)) return value(1);
        size_t binds = 0;
        switch (pick(4)) {
        case 0:
            return "<reject " + pattern(binds, depth) + ">";
        case 1:
            return "<or " + list(4, [&] { return rewrite(depth); }) + ">";
        case 2: // everything passes, somewhat changed
            return "<rewrite <bind <_>> <rec " + label() + " [<ref 0>]>>";
        default:
            return rewrite(depth);
        }
    }
    // Oldest first.
    std::string caveats(size_t most) {
        return list(most, [&] { return caveat(); });
    }
};

} // namespace muster::dataspace::model
