#include "init/config/environment.h"

#include <unordered_set>

#include "init/preserves/encoder.h"

namespace muster::config {

// A script may have thousands of bindings: they are released one after the other, not by recursion.
Environment::Binding::~Binding() {
    Ref<Binding> next = std::move(outer);
    while (next && next->references() == 1) {
        Ref<Binding> after = std::move(next->outer);
        next = std::move(after);
    }
}

Environment Environment::from_dictionary(View dictionary) {
    Environment result;
    if (!dictionary.is(preserves::Kind::dictionary)) return result;
    View key;
    for (View item : dictionary.items()) {
        if (!key.valid()) {
            key = item;
            continue;
        }
        if (auto name = key.as_text()) result.bind(*name, Value(item));
        key = View();
    }
    return result;
}

void Environment::bind(std::string_view name, const Value& value) {
    innermost_ = make_ref<Binding>(name, value, innermost_);
}

View Environment::find(std::string_view name) const {
    for (const Binding* at = innermost_.get(); at; at = at->outer.get()) {
        if (at->name == name) return at->value;
    }
    return {};
}

Value Environment::dictionary(size_t max_size) const {
    preserves::Encoder out;
    std::unordered_set<std::string_view> seen;
    out.begin_dictionary();
    for (const Binding* at = innermost_.get(); at; at = at->outer.get()) {
        if (!seen.insert(at->name).second) continue;
        size_t size = at->name.size() + at->value.view().bytes().size();
        if (size > max_size) return {};
        max_size -= size;
        out.symbol(at->name);
        out.value(at->value);
    }
    out.end();
    Result<Value> result = out.finish();
    return result ? std::move(*result) : Value();
}

} // namespace muster::config
