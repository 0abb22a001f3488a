// Processes that another second stage had started (process.h).
#include <unistd.h>

#include <algorithm>

#include "services/process/process.h"

namespace muster::services {

void Processes::adopt(std::vector<SecondStageLink::Kept::Slot> kept) {
    std::unordered_set<std::string> used;
    for (std::uint32_t index = 0; index < records::kSlots; ++index) {
        pid_t pid = link_.pid(index);
        if (pid <= 1) continue; // the slots that were never used are not touched
        const records::Slot& slot = link_.slot(index);
        if (slot.state != records::kSlotClaimed) continue;
        Ref<Process> process(new Process(*this));
        process->slot_ = {index, slot.generation};
        process->pid_ = pid;
        process->since_ = static_cast<uint64_t>(slot.start_ms) * millisecond;
        process->waiting_ = true;
        // It may have been reaped, and its number be somebody else's: its status says so, and comes
        // before anything is done with it.
        std::string path(slot.cgroup, strnlen(slot.cgroup, sizeof slot.cgroup));
        if (tree_ && !path.empty()) {
            used.insert(path);
            if (auto group = tree_.reopen(path)) {
                process->cgroup_ = std::move(*group);
                process->in_cgroup_ = process->cgroup_.populated();
            }
        }
        by_slot_[index] = process;
        processes_[process.get()] = process;
        adopted_[index] = process;
    }
    if (tree_) tree_.remove_empty(used);
    for (SecondStageLink::Kept::Slot& each : kept) {
        auto found = adopted_.find(each.slot.index);
        if (found == adopted_.end() || found->second->slot_.generation != each.slot.generation) {
            (void)link_.drop_slot_fds(each.slot);
            continue;
        }
        for (size_t i = 0; i < each.fds.size(); ++i)
            found->second->kept_.emplace_back(each.roles[i], std::move(each.fds[i]));
    }
}

Ref<Process> Processes::claim_adopted(SlotRef slot) {
    auto found = adopted_.find(slot.index);
    if (found == adopted_.end() || found->second->slot_.generation != slot.generation) return {};
    Ref<Process> process = std::move(found->second);
    adopted_.erase(found);
    return process;
}

Ref<Process> Processes::follow_adopted(SlotRef slot) {
    Ref<Process> process = claim_adopted(slot);
    if (process) process->followed_ = true;
    return process;
}

Ref<Process> Processes::gone_already(int wait_status) {
    Ref<Process> process(new Process(*this));
    process->running_ = false;
    process->waiting_ = true;
    process->acknowledged_ = true;
    process->wait_status_ = wait_status;
    return process;
}

size_t Processes::end_unclaimed() {
    auto rest = std::move(adopted_);
    adopted_.clear();
    for (auto& [index, process] : rest)
        process->disown();
    return rest.size();
}

void Process::disown() {
    abandon();
    attach({});
}

void Process::attach(Events events) {
    waiting_ = false;
    exited_ = std::move(events.exited);
    gone_callback_ = std::move(events.gone);
    if (running_) return;
    owner_.loop_.next_round([self = Ref<Process>(this)] { self->ended(self->wait_status_); });
}

Result<> Process::keep_instead(const std::vector<SecondStageLink::SlotFd>& fds) {
    if (gone_ || !owner_.link_.attached()) return {};
    if (auto dropped = owner_.link_.drop_slot_fds(slot_); !dropped) return dropped;
    return owner_.link_.store_slot_fds(slot_, fds.data(), fds.size());
}

Fd Process::take_kept(std::uint8_t role) {
    auto found = std::find_if(kept_.begin(), kept_.end(),
                              [&](const auto& each) { return each.first == role; });
    if (found == kept_.end()) return {};
    Fd fd = std::move(found->second);
    kept_.erase(found);
    return fd;
}

} // namespace muster::services
