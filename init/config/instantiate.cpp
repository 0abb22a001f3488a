#include "init/config/instantiate.h"

#include <algorithm>

#include "init/dataspace/pattern.h"

namespace muster::config {

using preserves::Kind;

namespace {

// <LABEL followed by what the caller writes.
void open(preserves::Encoder& out, std::string_view label) {
    out.begin_record();
    out.symbol(label);
}

void discard(preserves::Encoder& out) {
    open(out, "_");
    out.end();
}

// A constant as a pattern of a caveat, exact where such patterns are exact, open where they are.
void write_sturdy_literal(View value, preserves::Encoder& out) {
    switch (value.kind()) {
    case Kind::record:
    case Kind::sequence:
        open(out, value.is(Kind::record) ? "rec" : "arr");
        if (value.is(Kind::record)) out.value(value.label());
        out.begin_sequence();
        for (View item : value.items())
            write_sturdy_literal(item, out);
        out.end();
        break;
    case Kind::dictionary: {
        open(out, "dict");
        out.begin_dictionary();
        bool is_key = true;
        for (View item : value.items()) {
            if (is_key)
                out.value(item);
            else
                write_sturdy_literal(item, out);
            is_key = !is_key;
        }
        out.end();
        break;
    }
    default:
        open(out, "lit");
        out.value(value);
        break;
    }
    out.end();
}

} // namespace

Result<dataspace::CapRef> Narrowed::get(const dataspace::CapRef& base, const Value& caveats) {
    Value key = preserves::sequence({dataspace::embed(base), caveats});
    auto known = caps_.find(key);
    if (known != caps_.end()) return known->second;
    Result<Ref<dataspace::Caveats>> all = dataspace::Caveats::join(base->caveats(), caveats);
    if (!all) return all.error();
    if (caps_.size() >= sweep_at_) {
        std::erase_if(caps_, [](const auto& entry) { return entry.second->references() == 1; });
        sweep_at_ = 2 * caps_.size() + 64;
    }
    auto narrowed = make_ref<dataspace::Cap>(&base->facet(), &base->entity(), *all);
    caps_.emplace(std::move(key), narrowed);
    return dataspace::CapRef(narrowed);
}

bool Instantiator::fail(const Node& node, std::string message) {
    fault_.place = node.place;
    fault_.message = std::move(message);
    return false;
}

View Instantiator::lookup(const Node& node) {
    if (node.name() == ".") {
        if (!all_.valid()) all_ = environment_.dictionary(max_value_size);
        if (all_.valid()) return all_;
        fail(node, "$. is larger than 1 MiB or nests too deeply");
        return {};
    }
    View value = environment_.find(node.name());
    if (!value.valid()) fail(node, "undefined variable $" + std::string(node.name()));
    return value;
}

bool Instantiator::count(const Node& node, View value) {
    copied_ += value.bytes().size();
    return copied_ <= max_value_size || fail(node, "the value is larger than 1 MiB");
}

bool Instantiator::copy(const Node& node, View value, Encoder& out) {
    if (!count(node, value)) return false;
    out.value(value);
    return true;
}

Value Instantiator::finish(const Node& node, Encoder& out) {
    Result<Value> result = out.finish();
    if (result) return std::move(*result);
    fail(node, result.error().message);
    return {};
}

Value Instantiator::value(const Node& node) {
    if (node.op == Node::Op::literal) return node.value;
    if (node.op == Node::Op::variable) {
        View found = lookup(node);
        return found.valid() ? Value(found) : Value();
    }
    Encoder out;
    if (!write_value(node, out)) return {};
    return finish(node, out);
}

bool Instantiator::write_value(const Node& node, Encoder& out) {
    switch (node.op) {
    case Node::Op::literal:
        return copy(node, node.value, out);
    case Node::Op::variable: {
        View found = lookup(node);
        return found.valid() && copy(node, found, out);
    }
    case Node::Op::record:
        out.begin_record();
        break;
    case Node::Op::sequence:
        out.begin_sequence();
        break;
    case Node::Op::set:
        out.begin_set();
        break;
    case Node::Op::dictionary:
        out.begin_dictionary();
        break;
    case Node::Op::attenuate: {
        Value target = value(node.items[0]);
        if (!target.valid()) return false;
        dataspace::CapRef cap = dataspace::cap_of(target);
        if (!cap)
            return fail(node.items[0],
                        "$" + std::string(node.items[0].name()) + " is not a capability");
        Encoder wire;
        if (!write_caveats(*node.caveats, wire)) return false;
        Value caveats = finish(node, wire);
        if (!caveats.valid()) return false;
        Result<dataspace::CapRef> narrowed = narrowed_.get(cap, caveats);
        if (!narrowed) return fail(node, narrowed.error().message);
        out.embedded(*narrowed);
        return true;
    }
    case Node::Op::bind:
    case Node::Op::discard:
        return fail(node, "a value was expected, not a pattern");
    }
    for (const Node& item : node.items) {
        if (!write_value(item, out)) return false;
    }
    out.end();
    return true;
}

Value Instantiator::pattern(const Node& node, Names& names) {
    Encoder out;
    if (!write_pattern(node, names, out)) return {};
    return finish(node, out);
}

bool Instantiator::write_pattern(const Node& node, Names& names, Encoder& out) {
    switch (node.op) {
    case Node::Op::discard:
        discard(out);
        return true;
    case Node::Op::bind:
        names.emplace_back(node.name());
        open(out, "bind");
        if (node.items.empty())
            discard(out);
        else if (!write_pattern(node.items[0], names, out))
            return false;
        out.end();
        return true;
    case Node::Op::literal:
    case Node::Op::variable:
    case Node::Op::set:
    case Node::Op::attenuate: {
        Value constant = value(node);
        if (!constant.valid() || !count(node, constant)) return false;
        Value wire = dataspace::pattern::literal(constant);
        if (!wire.valid()) {
            return fail(node, (node.op == Node::Op::variable ? "$" + std::string(node.name())
                                                             : std::string("this value")) +
                                  " is or contains a set, which a pattern cannot match");
        }
        out.value(wire);
        return true;
    }
    case Node::Op::record:
    case Node::Op::sequence: {
        bool is_record = node.op == Node::Op::record;
        open(out, "group");
        open(out, is_record ? "rec" : "arr");
        if (is_record && !write_value(node.items[0], out)) return false;
        out.end();
        out.begin_dictionary();
        for (size_t i = is_record ? 1 : 0; i < node.items.size(); ++i) {
            out.integer(static_cast<int64_t>(is_record ? i - 1 : i));
            if (!write_pattern(node.items[i], names, out)) return false;
        }
        out.end();
        out.end();
        return true;
    }
    case Node::Op::dictionary:
        open(out, "group");
        open(out, "dict");
        out.end();
        if (!write_entries(node, names, out, false, true)) return false;
        out.end();
        return true;
    }
    return false;
}

// The entries of a dictionary pattern, in the order in which their captures are numbered.
bool Instantiator::write_entries(const Node& node, Names& names, Encoder& out, bool sturdy,
                                 bool capture) {
    std::vector<std::pair<Value, const Node*>> entries;
    for (size_t i = 0; i + 1 < node.items.size(); i += 2) {
        Value key = value(node.items[i]);
        if (!key.valid()) return false;
        entries.emplace_back(std::move(key), &node.items[i + 1]);
    }
    std::sort(entries.begin(), entries.end(),
              [](const auto& a, const auto& b) { return compare(a.first, b.first) < 0; });
    out.begin_dictionary();
    for (const auto& [key, item] : entries) {
        out.value(key);
        bool good =
            sturdy ? write_sturdy(*item, names, capture, out) : write_pattern(*item, names, out);
        if (!good) return false;
    }
    out.end();
    return true;
}

bool Instantiator::write_caveats(const std::vector<Node::Caveat>& caveats, Encoder& out) {
    out.begin_sequence();
    for (const Node::Caveat& caveat : caveats) {
        if (!write_caveat(caveat, out)) return false;
    }
    out.end();
    return true;
}

bool Instantiator::write_caveat(const Node::Caveat& caveat, Encoder& out) {
    Names names;
    switch (caveat.op) {
    case Node::Caveat::Op::rewrite:
        open(out, "rewrite");
        if (!write_sturdy(caveat.pattern, names, true, out)) return false;
        if (!write_result(caveat.result, names, out)) return false;
        break;
    case Node::Caveat::Op::accept: // a rewrite of the whole to itself
        open(out, "rewrite");
        open(out, "bind");
        if (!write_sturdy(caveat.pattern, names, false, out)) return false;
        out.end();
        open(out, "ref");
        out.integer(0);
        out.end();
        break;
    case Node::Caveat::Op::reject:
        open(out, "reject");
        if (!write_sturdy(caveat.pattern, names, false, out)) return false;
        break;
    case Node::Caveat::Op::alternatives:
        open(out, "or");
        if (!write_caveats(caveat.alternatives, out)) return false;
        break;
    }
    out.end();
    return true;
}

// A pattern as caveats have it (reference 2.8): records and sequences are exact there.
bool Instantiator::write_sturdy(const Node& node, Names& names, bool capture, Encoder& out) {
    switch (node.op) {
    case Node::Op::discard:
        discard(out);
        return true;
    case Node::Op::bind:
        if (capture) {
            names.emplace_back(node.name());
            open(out, "bind");
        }
        if (node.items.empty())
            discard(out);
        else if (!write_sturdy(node.items[0], names, capture, out))
            return false;
        if (capture) out.end();
        return true;
    case Node::Op::literal:
        write_sturdy_literal(node.value, out);
        return true;
    case Node::Op::variable:
    case Node::Op::set:
    case Node::Op::attenuate: {
        Value constant = value(node);
        if (!constant.valid() || !count(node, constant)) return false;
        write_sturdy_literal(constant, out);
        return true;
    }
    case Node::Op::record:
    case Node::Op::sequence: {
        bool is_record = node.op == Node::Op::record;
        open(out, is_record ? "rec" : "arr");
        if (is_record && !write_value(node.items[0], out)) return false;
        out.begin_sequence();
        for (size_t i = is_record ? 1 : 0; i < node.items.size(); ++i) {
            if (!write_sturdy(node.items[i], names, capture, out)) return false;
        }
        out.end();
        out.end();
        return true;
    }
    case Node::Op::dictionary:
        open(out, "dict");
        if (!write_entries(node, names, out, true, capture)) return false;
        out.end();
        return true;
    }
    return false;
}

// What a rewrite gives: variables of its pattern are references, all else is known now.
bool Instantiator::write_result(const Node& node, const Names& names, Encoder& out) {
    auto bound = [&](const Node& item) {
        return item.op == Node::Op::variable ? std::find(names.begin(), names.end(), item.name())
                                             : names.end();
    };
    auto is_bound = [&](const Node& item) { return bound(item) != names.end(); };
    switch (node.op) {
    case Node::Op::variable:
        if (!is_bound(node)) break;
        open(out, "ref");
        out.integer(bound(node) - names.begin());
        out.end();
        return true;
    case Node::Op::attenuate:
        if (!is_bound(node.items[0])) break;
        open(out, "attenuate");
        if (!write_result(node.items[0], names, out)) return false;
        if (!write_caveats(*node.caveats, out)) return false;
        out.end();
        return true;
    case Node::Op::set:
        for (const Node& item : node.items) {
            if (is_bound(item)) {
                return fail(item, "a rewrite cannot put what it captured into a set");
            }
        }
        break;
    case Node::Op::record:
        if (is_bound(node.items[0])) {
            return fail(node.items[0], "a rewrite cannot make what it captured a label");
        }
        open(out, "rec");
        if (!write_value(node.items[0], out)) return false;
        out.begin_sequence();
        for (size_t i = 1; i < node.items.size(); ++i) {
            if (!write_result(node.items[i], names, out)) return false;
        }
        out.end();
        out.end();
        return true;
    case Node::Op::sequence:
        open(out, "arr");
        out.begin_sequence();
        for (const Node& item : node.items) {
            if (!write_result(item, names, out)) return false;
        }
        out.end();
        out.end();
        return true;
    case Node::Op::dictionary:
        open(out, "dict");
        out.begin_dictionary();
        for (size_t i = 0; i + 1 < node.items.size(); i += 2) {
            if (is_bound(node.items[i])) {
                return fail(node.items[i], "a rewrite cannot make what it captured a key");
            }
            if (!write_value(node.items[i], out)) return false;
            if (!write_result(node.items[i + 1], names, out)) return false;
        }
        out.end();
        out.end();
        return true;
    default:
        break;
    }
    open(out, "lit");
    if (!write_value(node, out)) return false;
    out.end();
    return true;
}

} // namespace muster::config
