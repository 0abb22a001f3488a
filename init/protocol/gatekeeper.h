// Gatekeepers: how a peer that has a path step gets the capability it stands for (reference 2.6,
// gatekeeper.prs, sturdy.prs).
//
// A gatekeeper belongs to a dataspace, its *bind-space*, in which `<bind DESCRIPTION #:target
// #:observer-or-#f>` says what may be resolved. A peer asserts `<resolve STEP #:observer>` at the
// gatekeeper and gets an answer as an assertion at `observer`, for as long as the resolution holds.
//
// Life of a resolution of `<ref {oid sig caveats}>`:
//   waiting   nothing is bound for the oid; no answer. `<resolve STEP #:own>` stands in the
//             bind-space for as long as the resolution lives, in any state.
//   accepted  a bind for the oid has the key of the signature: the target, attenuated by the
//             caveats. If the bind goes, the answer goes: back to waiting, or on to another bind.
//   rejected  there are binds for the oid and none fits.
//   direct    while waiting, somebody asserted an answer at `own`: it, and all that follow there,
//             are passed on. Binds are not looked at any more.
// It ends when `resolve` is retracted. A step that is no `ref` is rejected as `unsupported`, one
// whose detail does not parse as `invalid`.
//
// Answers have two spellings (reference 2.6): `<accepted #:cap>` and `<rejected DETAIL>` up to
// 2025, `<ok #:cap>` and `<error DETAIL>` since. There is no negotiation.
#pragma once

#include <optional>
#include <string_view>

#include "init/dataspace/actor.h"

namespace muster::protocol {

enum class Answers : uint8_t { accepted, ok };
// "accepted" or "ok".
std::optional<Answers> answers_by_name(std::string_view name);

// A gatekeeper as an actor of its own, which ends when nobody can reach it any more. It answers the
// observers of binds too: `<bound <ref {oid sig}>>` or `<error DETAIL>`.
dataspace::CapRef spawn_gatekeeper(dataspace::Turn& turn, const dataspace::CapRef& bindspace,
                                   Answers answers);
// Whether `cap` is one's: who connects there may be anybody.
bool is_gatekeeper(const dataspace::CapRef& cap);

// Serves `<run-service <gatekeeper #:bindspace>>` in `config`: the states `started` and `ready`,
// and `<service-object <gatekeeper #:bindspace> #:gatekeeper>`. With
// `<gatekeeper #:bindspace {answers: ok}>` that one spells its answers so. Observes from the
// current facet.
void serve_gatekeepers(dataspace::Turn& turn, const dataspace::CapRef& config, Answers answers);

} // namespace muster::protocol
