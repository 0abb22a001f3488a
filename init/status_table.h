// The exit statuses of registered processes, kept until the second stage acknowledges them.
//
// One entry for each slot of the state memfd, so the table cannot be full. It lies in init's own
// state memfd and outlives a crash of init; plain data throughout.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "init/records.h"

namespace muster::pid1 {

class StatusTable {
  public:
    static constexpr std::uint32_t kNone = records::kSlots;

    // The slot in which `pid` is registered and not yet booked, or kNone for a stranger.
    std::uint32_t find(const records::SharedState& shared, pid_t pid) const;

    // The process registered in `slot` whose end is not booked, or 0.
    pid_t live(const records::SharedState& shared, std::uint32_t slot) const;

    // True while an unacknowledged status of an earlier process is kept for the slot.
    bool occupied(std::uint32_t slot) const { return entries_[slot].used; }

    // A slot that was claimed anew says by its generation that the status of its earlier process
    // was acknowledged, should that record have been lost in a crash of init.
    void forget_earlier(const records::SharedState& shared, std::uint32_t slot);

    // REQUIRES: slot < kSlots, !occupied(slot).
    void book(const records::Status& status);

    // False: no such status is kept.
    bool acknowledge(std::uint32_t slot, std::uint32_t generation, pid_t pid);

    // The next status that this second stage has not been sent, or nullptr.
    const records::Status* next_unsent();
    // Of the one that next_unsent gave.
    void mark_sent();
    // For a new second stage: everything has to be sent again.
    void resend_all();

    std::uint32_t count() const { return used_; }
    bool all_sent() const { return unsent_ == 0; }

  private:
    struct Entry {
        bool used;
        bool sent;
        records::Status status;
    };
    Entry entries_[records::kSlots];
    std::uint32_t used_;
    std::uint32_t unsent_;
    std::uint32_t cursor_; // where the search for an unsent one goes on
};

} // namespace muster::pid1
