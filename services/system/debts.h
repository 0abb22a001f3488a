// Who owes how much for work that is queued (init/dataspace/account.h), for people.
//
// `<debt "ACCOUNT" EVENTS LIMIT>` is asserted in `config` for each account that owes something, as
// long as somebody observes `<debt …>` there, and brought up to date once a second. An account over
// its limit is not read from. While nobody looks nothing is done.
//
// The service `<debt-reporter SECONDS>` logs the debt of every account at that interval (reference
// 3.6); SECONDS is a number from 0.1 up.
#pragma once

#include "init/base/event_loop.h"
#include "init/dataspace/actor.h"

namespace muster::services {

// Both serve `config` from the current facet.
void publish_debts(dataspace::Turn& turn, EventLoop& loop, const dataspace::CapRef& config);
void serve_debt_reporters(dataspace::Turn& turn, EventLoop& loop, const dataspace::CapRef& config,
                          const dataspace::CapRef& log);

} // namespace muster::services
