#include "init/protocol/sturdyref.h"

#include <algorithm>

#include "init/base/blake2s.h"
#include "init/dataspace/caveat.h"
#include "init/preserves/encoder.h"

namespace muster::protocol {

using preserves::Bytes;
using preserves::Kind;

namespace {

// A capability is an address in our own memory: what is signed with one means nothing elsewhere.
bool holds_capability(View value) {
    bool found = false;
    preserves::for_each_embedded(value, [&](preserves::Embedded&) { found = true; });
    return found;
}

Value with_parameters(View oid, const Signature& signature, View caveats) {
    Value sig = preserves::byte_string(signature);
    Value parameters =
        caveats.valid() && caveats.count() > 0
            ? preserves::dictionary({{"oid", oid}, {"sig", sig}, {"caveats", caveats}})
            : preserves::dictionary({{"oid", oid}, {"sig", sig}});
    return preserves::record("ref", {parameters});
}

} // namespace

Signature sign(Bytes key, View value) {
    Digest digest = hmac_blake2s(key, value.bytes());
    Signature signature;
    std::copy_n(digest.begin(), signature.size(), signature.begin());
    return signature;
}

std::optional<SturdyParameters> sturdy_parameters(View parameters) {
    if (!parameters.is(Kind::dictionary)) return std::nullopt;
    View oid = parameters.get("oid");
    std::optional<Bytes> signature = parameters.get("sig").as_bytes();
    if (!oid.valid() || !signature) return std::nullopt;
    return SturdyParameters{oid, *signature, parameters.get("caveats")};
}

Result<Value> mint(View oid, Bytes key) {
    if (holds_capability(oid)) return Error{"an oid must not hold capabilities"};
    return with_parameters(oid, sign(key, oid), {});
}

Result<Value> attenuate(View sturdyref, View caveats) {
    auto old = sturdyref.is_record("ref", 1) ? sturdy_parameters(sturdyref.at(0)) : std::nullopt;
    if (!old || old->signature.size() != Signature().size() ||
        (old->caveats.valid() && !old->caveats.is(Kind::sequence)))
        return Error{"not a sturdyref: expected <ref {oid: VALUE sig: #[16 bytes]}>"};
    if (holds_capability(sturdyref) || holds_capability(caveats))
        return Error{"a sturdyref must not hold capabilities"};
    Ref<dataspace::Caveats> before;
    if (old->caveats.valid()) {
        auto parsed = dataspace::Caveats::parse(old->caveats);
        if (!parsed) return parsed.error().with_context("the sturdyref");
        before = *parsed;
    }
    Result<Ref<dataspace::Caveats>> all = dataspace::Caveats::join(before, caveats);
    if (!all) return all.error();
    Signature signature;
    std::copy(old->signature.begin(), old->signature.end(), signature.begin());
    for (View caveat : caveats.items())
        signature = sign(signature, caveat);
    return with_parameters(old->oid, signature, (*all)->wire());
}

bool is_signed(const SturdyParameters& parameters, Bytes key) {
    if (parameters.signature.size() != Signature().size()) return false;
    if (holds_capability(parameters.oid)) return false;
    Signature expected = sign(key, parameters.oid);
    if (parameters.caveats.valid()) {
        if (!parameters.caveats.is(Kind::sequence) || holds_capability(parameters.caveats))
            return false;
        for (View caveat : parameters.caveats.items())
            expected = sign(expected, caveat);
    }
    // How long this takes must not tell how much of a forged signature was right.
    uint8_t difference = 0;
    for (size_t i = 0; i < expected.size(); ++i)
        difference |= static_cast<uint8_t>(expected[i] ^ parameters.signature[i]);
    return difference == 0;
}

} // namespace muster::protocol
