#include "init/status_table.h"

namespace muster::pid1 {

std::uint32_t StatusTable::find(const records::SharedState& shared, pid_t pid) const {
    for (std::uint32_t slot = 0; slot < records::kSlots; ++slot) {
        if (__atomic_load_n(&shared.pids[slot], __ATOMIC_ACQUIRE) == pid &&
            live(shared, slot) == pid)
            return slot;
    }
    return kNone;
}

pid_t StatusTable::live(const records::SharedState& shared, std::uint32_t slot) const {
    // The slot itself is looked at last: one that was never used takes no memory.
    pid_t pid = __atomic_load_n(&shared.pids[slot], __ATOMIC_ACQUIRE);
    if (pid <= 1) return 0; // none, or nonsense: no process of ours has it
    if (__atomic_load_n(&shared.slots[slot].state, __ATOMIC_ACQUIRE) != records::kSlotClaimed)
        return 0;
    // The pid of a process that is booked already may be in use again by a stranger.
    if (entries_[slot].used && entries_[slot].status.pid == pid) return 0;
    return pid;
}

void StatusTable::forget_earlier(const records::SharedState& shared, std::uint32_t slot) {
    Entry& entry = entries_[slot];
    if (!entry.used || entry.status.generation == shared.slots[slot].generation) return;
    if (!entry.sent) --unsent_;
    --used_;
    entry.used = false;
}

void StatusTable::book(const records::Status& status) {
    Entry& entry = entries_[status.slot];
    entry.status = status;
    entry.used = true;
    entry.sent = false;
    ++used_;
    ++unsent_;
}

bool StatusTable::acknowledge(std::uint32_t slot, std::uint32_t generation, pid_t pid) {
    if (slot >= records::kSlots) return false;
    Entry& entry = entries_[slot];
    if (!entry.used || entry.status.generation != generation || entry.status.pid != pid)
        return false;
    if (!entry.sent) --unsent_;
    --used_;
    entry.used = false;
    return true;
}

const records::Status* StatusTable::next_unsent() {
    if (unsent_ == 0) return nullptr;
    for (std::uint32_t tried = 0; tried < records::kSlots; ++tried) {
        std::uint32_t slot = (cursor_ + tried) % records::kSlots;
        if (!entries_[slot].used || entries_[slot].sent) continue;
        cursor_ = slot;
        return &entries_[slot].status;
    }
    return nullptr;
}

void StatusTable::mark_sent() {
    Entry& entry = entries_[cursor_];
    if (!entry.used || entry.sent) return;
    entry.sent = true;
    --unsent_;
}

void StatusTable::resend_all() {
    unsent_ = used_;
    if (used_ == 0) return; // and take no memory for it
    for (Entry& entry : entries_)
        entry.sent = false;
}

} // namespace muster::pid1
