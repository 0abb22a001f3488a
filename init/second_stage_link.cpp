#include "init/second_stage_link.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

namespace muster {

namespace {

using records::Kind;
using records::Record;

std::int64_t monotonic_ms() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1000000;
}

void copy_cut(char* field, std::size_t size, std::string_view text) {
    std::size_t length = std::min(size - 1, text.size());
    std::memcpy(field, text.data(), length);
    std::memset(field + length, 0, size - length);
}

// What came on the socket: nothing (would block), or a record and perhaps a descriptor.
Result<std::optional<SecondStageLink::Received>> receive_record(int socket, int flags) {
    SecondStageLink::Received received{};
    iovec data{&received.record, sizeof received.record};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * records::kSlotFds)];
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ssize_t size;
    do {
        size = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
    } while (size < 0 && errno == EINTR);
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return std::optional<SecondStageLink::Received>{};
    if (size < 0) return system_error("receive from init", errno);
    if (size == 0) return Error{"init has closed the connection"};
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
         part = CMSG_NXTHDR(&message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
        std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd;
            std::memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
            received.fds.emplace_back(fd);
        }
    }
    if (size != static_cast<ssize_t>(sizeof received.record) || (message.msg_flags & MSG_TRUNC))
        return Error{"init sent a record of the wrong size"};
    if (received.record.magic != records::kMagic || received.record.version != records::kVersion)
        return Error{"init speaks another version"};
    return std::optional<SecondStageLink::Received>(std::move(received));
}

} // namespace

Result<SecondStageLink> SecondStageLink::connect(int init_fd) {
    if (fcntl(init_fd, F_SETFD, FD_CLOEXEC) < 0) return system_error("descriptor of init", errno);
    SecondStageLink link;
    link.socket_.reset(init_fd);
    auto first = receive_record(init_fd, 0);
    if (!first) return first.error();
    if (!*first || (*first)->record.kind != static_cast<std::uint16_t>(Kind::welcome))
        return Error{"init did not begin with a welcome"};
    link.welcome_ = (*first)->record.payload.welcome;
    struct stat memfd {};
    if ((*first)->fds.empty() || fstat((*first)->fds[0].get(), &memfd) < 0)
        return Error{"init sent no state memfd"};
    if (memfd.st_size != static_cast<off_t>(records::kSharedSize))
        return Error{"the state memfd has the wrong size"};
    void* mapping = mmap(nullptr, records::kSharedSize, PROT_READ | PROT_WRITE, MAP_SHARED,
                         (*first)->fds[0].get(), 0);
    if (mapping == MAP_FAILED) return system_error("map the state memfd", errno);
    link.shared_ = static_cast<records::SharedState*>(mapping);
    if (link.shared_->magic != records::kMagic || link.shared_->version != records::kVersion ||
        link.shared_->slot_count != records::kSlots)
        return Error{"the state memfd has another version"};
    // What a predecessor meant to start and did not: without a pid there was no clone.
    std::uint32_t slots = link.welcome_.starts > 0 ? records::kSlots : 0;
    for (std::uint32_t index = 0; index < slots; ++index) {
        if (link.shared_->slots[index].state != records::kSlotFree && link.pid(index) == 0)
            link.release({index, link.shared_->slots[index].generation});
    }
    Record hello = records::make_record(Kind::hello);
    hello.payload.hello.version = records::kVersion;
    if (auto sent = link.send(hello); !sent) return sent.error();
    return link;
}

Result<SecondStageLink::Kept> SecondStageLink::collect() {
    Kept kept;
    while (attached()) {
        auto received = receive_record(socket_.get(), 0);
        if (!received) return received.error();
        if (!*received) continue;
        Received& one = **received;
        const Record& record = one.record;
        switch (static_cast<Kind>(record.kind)) {
        case Kind::kept_fd: {
            note_name(record);
            if (!one.fds.empty()) kept.named[names_.back()] = std::move(one.fds[0]);
            break;
        }
        case Kind::kept_slot_fds: {
            const records::SlotFds& named = record.payload.slot_fds;
            Kept::Slot slot{{named.slot, named.generation}, {}, std::move(one.fds)};
            slot.fds.resize(std::min<std::size_t>(slot.fds.size(), records::kSlotFds));
            slot.roles.assign(named.roles, named.roles + slot.fds.size());
            kept.slots.push_back(std::move(slot));
            break;
        }
        case Kind::status:
            kept.statuses.push_back(record.payload.status);
            break;
        case Kind::kept_end:
            return kept;
        default:
            early_.push_back(std::move(one));
            break;
        }
    }
    return kept;
}

Result<SecondStageLink> SecondStageLink::standalone() {
    SecondStageLink link;
    void* mapping = mmap(nullptr, records::kSharedSize, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) return system_error("memory for the slots", errno);
    link.shared_ = static_cast<records::SharedState*>(mapping);
    return link;
}

SecondStageLink::SecondStageLink(SecondStageLink&& other) noexcept { *this = std::move(other); }

SecondStageLink& SecondStageLink::operator=(SecondStageLink&& other) noexcept {
    if (this == &other) return *this;
    unmap();
    socket_ = std::move(other.socket_);
    shared_ = std::exchange(other.shared_, nullptr);
    welcome_ = other.welcome_;
    next_ = other.next_;
    names_ = std::move(other.names_);
    early_ = std::move(other.early_);
    handled_ = std::exchange(other.handled_, {});
    return *this;
}

SecondStageLink::~SecondStageLink() { unmap(); }

void SecondStageLink::unmap() {
    if (shared_ != nullptr) munmap(shared_, records::kSharedSize);
    shared_ = nullptr;
}

Result<std::optional<SecondStageLink::Received>> SecondStageLink::receive() {
    if (!attached()) return std::optional<Received>{};
    if (!early_.empty()) {
        std::optional<Received> first(std::move(early_.front()));
        early_.pop_front();
        return first;
    }
    auto received = receive_record(socket_.get(), MSG_DONTWAIT);
    if (received && *received) note_name((*received)->record);
    return received;
}

void SecondStageLink::note_name(const Record& record) {
    if (record.kind == static_cast<std::uint16_t>(Kind::kept_fd))
        names_.emplace_back(record.payload.kept_fd.name,
                            strnlen(record.payload.kept_fd.name, records::kFdNameSize));
}

Result<SlotRef> SecondStageLink::claim(std::string_view name, std::string_view cgroup) {
    if (auto sent = flush(); !sent) return sent.error(); // before a slot is used again
    for (std::uint32_t index = next_; index < records::kSlots; ++index) {
        records::Slot& slot = shared_->slots[index];
        if (slot.state != records::kSlotFree) continue;
        next_ = index + 1;
        __atomic_store_n(&shared_->pids[index], 0, __ATOMIC_RELAXED);
        if (++slot.generation == 0) slot.generation = 1;
        slot.flags = 0;
        slot.start_ms = monotonic_ms();
        copy_cut(slot.name, sizeof slot.name, name);
        copy_cut(slot.cgroup, sizeof slot.cgroup, cgroup);
        std::memset(slot.opaque, 0, sizeof slot.opaque);
        __atomic_store_n(&slot.state, static_cast<std::uint32_t>(records::kSlotClaimed),
                         __ATOMIC_RELEASE);
        return SlotRef{index, slot.generation};
    }
    return Error{"every process slot is taken (" + std::to_string(records::kSlots) + ")", ENOSPC};
}

pid_t* SecondStageLink::pid_cell(SlotRef slot) { return &shared_->pids[slot.index]; }

pid_t SecondStageLink::pid(std::uint32_t index) const {
    return __atomic_load_n(&shared_->pids[index], __ATOMIC_ACQUIRE);
}

void SecondStageLink::release(SlotRef ref) {
    if (ref.index >= records::kSlots) return;
    records::Slot& slot = shared_->slots[ref.index];
    if (slot.generation != ref.generation) return;
    next_ = std::min(next_, ref.index);
    __atomic_store_n(&slot.state, static_cast<std::uint32_t>(records::kSlotFree), __ATOMIC_RELEASE);
    __atomic_store_n(&shared_->pids[ref.index], 0, __ATOMIC_RELEASE);
}

Result<> SecondStageLink::acknowledge(SlotRef slot, pid_t pid) {
    release(slot);
    if (!attached()) return {};
    handled_.statuses[handled_.count++] = {slot.index, slot.generation, pid};
    return handled_.count < records::kAcknowledged ? Result<>() : flush();
}

Result<> SecondStageLink::flush() {
    if (handled_.count == 0) return {};
    Record record = records::make_record(Kind::acknowledge);
    record.payload.acknowledge = std::exchange(handled_, {});
    return send_now(record, nullptr, 0);
}

Result<> SecondStageLink::store_fd(std::string_view name, int fd) {
    if (!attached()) return {};
    if (name.empty() || name.size() >= records::kFdNameSize)
        return Error{"keep descriptor " + std::string(name) + ": the name has a wrong length"};
    if (names_.size() >= records::kStoredFds)
        return Error{"keep descriptor " + std::string(name) + ": init keeps no more than " +
                     std::to_string(records::kStoredFds)};
    if (std::find(names_.begin(), names_.end(), name) != names_.end())
        return Error{"keep descriptor " + std::string(name) + ": the name is taken"};
    Record record = records::make_record(Kind::store_fd);
    copy_cut(record.payload.store_fd.name, records::kFdNameSize, name);
    if (auto sent = send(record, &fd, 1); !sent) return sent;
    names_.emplace_back(name);
    return {};
}

Result<> SecondStageLink::drop_fd(std::string_view name) {
    if (!attached()) return {};
    auto found = std::find(names_.begin(), names_.end(), name);
    if (found == names_.end())
        return Error{"drop descriptor " + std::string(name) + ": it is not kept"};
    names_.erase(found);
    Record record = records::make_record(Kind::drop_fd);
    copy_cut(record.payload.drop_fd.name, records::kFdNameSize, name);
    return send(record);
}

Result<> SecondStageLink::store_slot_fds(SlotRef slot, const SlotFd* fds, std::size_t count) {
    if (!attached() || count == 0) return {};
    if (count > records::kSlotFds) return Error{"too many descriptors to keep for one process"};
    Record record = records::make_record(Kind::store_slot_fds);
    record.payload.slot_fds.slot = slot.index;
    record.payload.slot_fds.generation = slot.generation;
    record.payload.slot_fds.count = static_cast<std::uint32_t>(count);
    int numbers[records::kSlotFds];
    for (std::size_t i = 0; i < count; ++i) {
        record.payload.slot_fds.roles[i] = fds[i].role;
        numbers[i] = fds[i].fd;
    }
    return send(record, numbers, count);
}

Result<> SecondStageLink::drop_slot_fds(SlotRef slot) {
    if (!attached()) return {};
    Record record = records::make_record(Kind::drop_slot_fds);
    record.payload.slot_fds.slot = slot.index;
    record.payload.slot_fds.generation = slot.generation;
    return send(record);
}

Result<> SecondStageLink::replace() { return send(records::make_record(Kind::replace)); }

Result<> SecondStageLink::upgrade(std::string_view program) {
    if (program.size() >= records::kPathSize) return Error{"upgrade: the path is too long"};
    Record record = records::make_record(Kind::upgrade);
    copy_cut(record.payload.upgrade.program, records::kPathSize, program);
    return send(record);
}

Result<> SecondStageLink::up() { return send(records::make_record(Kind::up)); }

Result<> SecondStageLink::services_stopped() {
    return send(records::make_record(Kind::services_stopped));
}

Result<> SecondStageLink::more_time(std::int64_t left_ms) {
    Record record = records::make_record(Kind::more_time);
    record.payload.more_time.left_ms = left_ms;
    return send(record);
}

Result<> SecondStageLink::main_process(pid_t pid) {
    Record record = records::make_record(Kind::main_process);
    record.payload.main_process.pid = pid;
    return send(record);
}

Result<> SecondStageLink::shutdown(records::Action action, int exit_status) {
    Record record = records::make_record(Kind::shutdown);
    record.payload.shutdown = {action, exit_status};
    return send(record);
}

Result<> SecondStageLink::switch_root(std::string_view new_root, std::string_view init_program) {
    if (new_root.size() >= records::kPathSize || init_program.size() >= records::kPathSize)
        return Error{"switch root: a path is too long"};
    Record record = records::make_record(Kind::switch_root);
    copy_cut(record.payload.switch_root.new_root, records::kPathSize, new_root);
    copy_cut(record.payload.switch_root.init, records::kPathSize, init_program);
    return send(record);
}

Result<> SecondStageLink::quiet(bool on) {
    Record record = records::make_record(Kind::quiet);
    record.payload.quiet.quiet = on ? 1 : 0;
    return send(record);
}

Result<> SecondStageLink::send(const Record& record, const int* fds, std::size_t count) {
    if (!attached()) return {};
    if (auto sent = flush(); !sent) return sent;
    return send_now(record, fds, count);
}

Result<> SecondStageLink::send_now(const Record& record, const int* fds, std::size_t count) {
    iovec data{const_cast<Record*>(&record), sizeof record};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * records::kSlotFds)] = {};
    if (count > 0) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
        cmsghdr* part = CMSG_FIRSTHDR(&message);
        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(sizeof(int) * count);
        std::memcpy(CMSG_DATA(part), fds, sizeof(int) * count);
    }
    ssize_t size;
    do {
        size = sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    } while (size < 0 && errno == EINTR);
    if (size < 0) return system_error("send to init", errno);
    return {};
}

} // namespace muster
