// The variables that a piece of script sees: names and values, innermost binding first.
//
// Copying shares; binding in a copy does not show in the original. Capabilities are embedded
// values.
#pragma once

#include <string>
#include <string_view>

#include "init/base/ref.h"
#include "init/preserves/value.h"

namespace muster::config {

using preserves::Value;
using preserves::View;

class Environment {
  public:
    Environment() = default;
    // The entries of a dictionary whose keys are symbols or strings; others are left out.
    static Environment from_dictionary(View dictionary);

    void bind(std::string_view name, const Value& value);
    // Invalid if there is no such variable. Lives as long as this environment.
    View find(std::string_view name) const;
    // All variables, by name as a symbol. Invalid if that is more than `max_size` bytes or nests
    // too deeply.
    Value dictionary(size_t max_size) const;

  private:
    // Bindings are a list with shared tails.
    struct Binding : Counted {
        Binding(std::string_view n, const Value& v, Ref<Binding> o)
            : name(n), value(v), outer(std::move(o)) {}
        ~Binding() override;
        std::string name;
        Value value;
        Ref<Binding> outer;
    };
    Ref<Binding> innermost_;
};

} // namespace muster::config
