#include "init/config/locate.h"

namespace muster::config {

using preserves::Kind;

namespace {

bool contains(View outer, View inner) {
    auto begin = outer.bytes().data(), at = inner.bytes().data();
    return at >= begin && at + inner.bytes().size() <= begin + outer.bytes().size();
}

bool says(const Form& form, View value) {
    if (form.is_compound()) return false;
    if (form.atom.view() == value) return true;
    auto symbol = value.as_symbol();
    return symbol && form.symbol() == "=" + std::string(*symbol);
}

bool says(const Node& node, View value) {
    return node.op == Node::Op::literal && node.value.view() == value;
}

// The item of `at` for the part of `value` that holds `part`, which becomes `value`; null if there
// is none that is known.
template <typename Item>
const Item* step(const Item& at, View& value, View part) {
    const auto& items = at.items;
    View outer = value;
    if (outer.is(Kind::dictionary)) {
        View key;
        for (View item : outer.items()) {
            bool is_key = !key.valid();
            if (is_key) key = item;
            if (contains(item, part)) {
                for (size_t i = 0; i + 1 < items.size(); i += 2) {
                    if (!says(items[i], key)) continue;
                    value = item;
                    return &items[is_key ? i : i + 1];
                }
                return nullptr;
            }
            if (!is_key) key = View();
        }
        return nullptr;
    }
    size_t index = outer.is(Kind::record) ? 1 : 0; // the label is the first item
    if (!outer.is(Kind::record) && !outer.is(Kind::sequence)) return nullptr;
    for (View item : outer.items()) {
        if (index >= items.size()) return nullptr;
        if (contains(item, part)) {
            value = item;
            return &items[index];
        }
        ++index;
    }
    return nullptr;
}

template <typename Item>
const Item& find(const Item& root, View value, View part) {
    const Item* at = &root;
    while (value.bytes().data() != part.bytes().data() ||
           value.bytes().size() != part.bytes().size()) {
        const Item* inner = step(*at, value, part);
        if (inner == nullptr) break;
        at = inner;
    }
    return *at;
}

} // namespace

Location locate(const Form& form, View whole, View part) { return find(form, whole, part).at; }

Place locate(const Node& node, View whole, View part) { return find(node, whole, part).place; }

} // namespace muster::config
