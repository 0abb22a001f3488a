// Caveats: what narrows a capability (reference 2.8, sturdy.prs).
//
// Caveats apply to every asserted value and message body, newest (last) first. Each rewrites the
// value or rejects it; an unknown one rejects everything. How many there are, how large they are
// and how deep they nest is bounded when they are put on a capability; how long a value may be
// looked at and what a rewrite may produce is bounded before it is done: what exceeds that is
// rejected, and said (bound.h).
#pragma once

#include <optional>

#include "init/base/result.h"
#include "init/dataspace/bound.h"
#include "init/preserves/value.h"

namespace muster::dataspace {

using preserves::Value;
using preserves::View;

class Caveats : public Counted {
  public:
    static constexpr size_t max_caveats = 64;       // on one capability
    static constexpr size_t max_size = 16'384;      // bytes of them all
    static constexpr size_t max_nesting = 32;       // of patterns and templates
    static constexpr size_t max_growth = 1'048'576; // bytes, of a value that they are applied to

    // From the sequence of caveats as it stands on the wire, oldest first. Errors name the caveat:
    // UnboundRef, BindingUnderNegation; or that there are too many, or no sequence of them.
    static Result<Ref<Caveats>> parse(View sequence);
    // These, then `more`. Fails if that is too many.
    static Result<Ref<Caveats>> join(const Ref<Caveats>& older, View more);

    // The value as the entity sees it, or nothing if it is rejected; then `exceeded`, if given,
    // says whether that was for a bound.
    std::optional<Value> apply(const Value& value, std::optional<Bound>* exceeded = nullptr) const;

    // As a sequence, oldest first.
    const Value& wire() const { return wire_; }
    // One of them is unknown.
    bool reject_everything() const { return rejects_all_; }

  private:
    Caveats(Value wire, bool rejects_all) : wire_(std::move(wire)), rejects_all_(rejects_all) {}
    Value wire_;
    bool rejects_all_;
};

} // namespace muster::dataspace
