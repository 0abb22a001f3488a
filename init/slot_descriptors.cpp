#include "init/slot_descriptors.h"

#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

namespace muster::pid1 {

int SlotDescriptors::store(const records::SlotFds& named, const int* fds) {
    if (named.slot >= records::kSlots || named.count == 0 || named.count > records::kSlotFds)
        return -EINVAL;
    Entry& entry = entries_[named.slot];
    if (entry.named.count > 0 && entry.named.generation != named.generation)
        drop(named.slot, entry.named.generation);
    if (entry.named.count + named.count > records::kSlotFds) return -ENOSPC;
    if (entry.named.count == 0) {
        ++slots_;
        if (named.slot >= high_) high_ = named.slot + 1;
    }
    entry.named.slot = named.slot;
    entry.named.generation = named.generation;
    for (std::uint32_t i = 0; i < named.count; ++i) {
        entry.named.roles[entry.named.count] = named.roles[i];
        entry.fds[entry.named.count] = fds[i];
        ++entry.named.count;
    }
    return 0;
}

int SlotDescriptors::drop(std::uint32_t slot, std::uint32_t generation) {
    if (slot >= high_) return -ENOENT;
    Entry& entry = entries_[slot];
    if (entry.named.count == 0 || entry.named.generation != generation) return -ENOENT;
    for (std::uint32_t i = 0; i < entry.named.count; ++i)
        close(entry.fds[i]);
    entry.named.count = 0;
    --slots_;
    while (high_ > 0 && entries_[high_ - 1].named.count == 0)
        --high_;
    return 0;
}

const SlotDescriptors::Entry* SlotDescriptors::next(std::uint32_t& from) const {
    for (; from < high_; ++from) {
        if (entries_[from].named.count > 0) return &entries_[from];
    }
    return nullptr;
}

void SlotDescriptors::set_close_on_exec(bool on) const {
    for (std::uint32_t slot = 0; slot < high_; ++slot) {
        for (std::uint32_t i = 0; i < entries_[slot].named.count; ++i)
            fcntl(entries_[slot].fds[i], F_SETFD, on ? FD_CLOEXEC : 0);
    }
}

} // namespace muster::pid1
