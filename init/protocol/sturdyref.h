// SturdyRefs: capabilities as plain data that can be kept and mailed (reference 2.7, sturdy.prs).
//
// `<ref {oid: OID sig: SIGNATURE caveats: [CAVEAT …]}>`. Who knows the secret key that OID is bound
// with can sign; who has a sturdyref can narrow it further, offline, since each caveat is signed
// with the signature before it; nobody can take a caveat off again.
#pragma once

#include <array>
#include <optional>

#include "init/base/result.h"
#include "init/preserves/value.h"

namespace muster::protocol {

using preserves::Value;
using preserves::View;

using Signature = std::array<uint8_t, 16>;

// The first half of HMAC-BLAKE2s-256 over the canonical bytes of `value`, which must not hold
// capabilities.
Signature sign(preserves::Bytes key, View value);

// What stands in `<ref …>`; looks into the value that it was read from.
struct SturdyParameters {
    View oid;
    preserves::Bytes signature;
    View caveats; // invalid if there are none; else whatever stands there
};
std::optional<SturdyParameters> sturdy_parameters(View parameters);

// The sturdyref for `oid` without caveats. ERRORS: `oid` holds capabilities.
Result<Value> mint(View oid, preserves::Bytes key);

// The sturdyref with `caveats` (a sequence) behind those it has. Needs no key; whether the old
// signature is right is not known here.
// ERRORS: not a sturdyref; caveats that are unsound, too many, or hold capabilities.
Result<Value> attenuate(View sturdyref, View caveats);

// Whether `parameters` were signed with `key` as they stand, caveats in order.
bool is_signed(const SturdyParameters& parameters, preserves::Bytes key);

} // namespace muster::protocol
