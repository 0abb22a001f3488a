// Facts about the machine that are asserted because somebody looks for them, in `$machine`:
//
//   <path "/run/x" KIND>       it exists: file directory fifo socket char block; of a symbolic
//                              link, what it points to
//   <directory-entry "/d" "a"> one for each name in a directory, but for `.` and `..`
//   <path-changed "/etc/x">    message: the file was closed after it was written, or moved there
//   <mount "/home" {source: "/dev/vda2" type: "ext4" root: "/" read-only: #f}>
//                              what is mounted there, the uppermost of several
//   <client S "http">          somebody has come to a socket of S (client_facts.h)
//   <after-boot 30>            so many seconds have passed since the kernel was started
//   <every 300 N>              the Nth period of so many seconds since then has begun; from 1
//   <later-than 1798761600.0>  it is later than this (timer.prs; seconds since 1970)
//   <calendar "0 3 * * fri">   the present minute, local time, is one of these (calendar.h)
//
// The first field is what decides: it must stand in the pattern, but for mounts, all of which can
// be asked for. Whoever asks so has it watched, for as long as they ask; nobody asks, nothing is
// watched. Nothing is looked at again and again: files by inotify(7), mounts by poll(2) on
// /proc/self/mountinfo (proc(5)), times by timers, which follow when the clock is set
// (timerfd_create(2), TFD_TIMER_CANCEL_ON_SET) and when the machine was asleep (CLOCK_BOOTTIME).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "init/base/event_loop.h"
#include "init/dataspace/dataspace.h"
#include "services/daemon/listen_sockets.h"

namespace muster::services {

struct PresenceContext {
    EventLoop& loop;
    dataspace::CapRef config{}; // where services are defined; may be null without `sockets`
    dataspace::CapRef machine;
    std::shared_ptr<ListenSockets> sockets{}; // those that services are given; null: no clients
    // Says what is wrong with what was asked for, or what cannot be watched.
    std::function<void(dataspace::Turn&, const std::string&)> report;
    // More starts of a service by its clients than `client_burst` within `client_window`
    // nanoseconds, and they wait until that is over.
    size_t client_burst = 20;
    uint64_t client_window = 10 * second;
};

// As an actor of its own. `loop` must outlive it.
void serve_presence(dataspace::Turn& turn, PresenceContext context);

} // namespace muster::services
