// The records of pid1.h: what comes from the second stage and what goes to it.
#include <cerrno>
#include <csignal>
#include <cstring>

#include <unistd.h>

#include "init/line.h"
#include "init/link.h"
#include "init/pid1.h"

namespace muster::pid1 {

using records::Action;
using records::Kind;
using records::Record;

namespace {

bool ended(const char* field, std::size_t size) { return strnlen(field, size) < size; }

} // namespace

void Pid1::on_link_readable() { read_records(kRound); }

void Pid1::read_records(int limit) {
    more_to_read_ = false;
    for (int count = 0; count < limit; ++count) {
        if (state_.link_fd < 0) return;
        Record record;
        Attached attached;
        int got = receive_record(state_.link_fd, record, attached);
        if (got == 0) return;
        if (got == -EBADMSG) {
            refuse(0, EBADMSG, "not a record of this version");
            continue;
        }
        if (got < 0) {
            link_broken(-got);
            return;
        }
        handle_record(record, attached);
    }
    more_to_read_ = true;
}

void Pid1::handle_record(const Record& record, Attached& attached) {
    Kind kind = static_cast<Kind>(record.kind);
    if (kind == Kind::store_fd) {
        attached.close_from(1);
        handle_store(record.payload.store_fd, attached.count == 1 ? attached.fds[0] : -1);
        return;
    }
    if (kind == Kind::store_slot_fds) {
        handle_store_slot(record.payload.slot_fds, attached);
        return;
    }
    attached.close_from(0);
    if (!state_.greeted && kind != Kind::hello) {
        refuse(record.kind, EPROTO, "before hello");
        return;
    }
    switch (kind) {
    case Kind::hello:
        if (record.payload.hello.version != records::kVersion) {
            refuse(record.kind, EPROTO, "another version of the records");
            kernel_.kill(state_.second_stage_pid, SIGKILL);
        } else if (!state_.greeted) {
            greet();
        }
        break;
    case Kind::up:
        if (!state_.up && !ending()) state_.phase_since_ms = kernel_.now_ms();
        state_.up = true;
        if (!ending()) state_.failures = 0;
        break;
    case Kind::acknowledge:
        handle_acknowledge(record.payload.acknowledge);
        break;
    case Kind::drop_slot_fds:
        if (state_.slot_descriptors.drop(record.payload.slot_fds.slot,
                                         record.payload.slot_fds.generation) < 0)
            refuse(record.kind, ENOENT, "none are kept for this slot");
        break;
    case Kind::replace:
        state_.replacing = true;
        break;
    case Kind::upgrade:
        handle_upgrade(record.payload.upgrade);
        break;
    case Kind::drop_fd: {
        int dropped = state_.store.drop(record.payload.drop_fd.name);
        if (dropped < 0) refuse(record.kind, -dropped, "no such descriptor is kept");
        break;
    }
    case Kind::services_stopped:
        if (state_.phase == Phase::stopping)
            terminate();
        else if (!ending()) // else it comes too late, and is seen
            refuse(record.kind, EINVAL, "nobody asked for it");
        break;
    case Kind::more_time:
        give_more_time(record.payload.more_time.left_ms);
        break;
    case Kind::main_process:
        if (state_.container) state_.main_pid = record.payload.main_process.pid;
        break;
    case Kind::shutdown:
        handle_shutdown(record.payload.shutdown);
        break;
    case Kind::switch_root:
        handle_switch_root(record.payload.switch_root);
        break;
    case Kind::quiet:
        state_.quiet = record.payload.quiet.quiet != 0;
        break;
    default:
        refuse(record.kind, ENOSYS, "not a kind that init takes");
        break;
    }
}

void Pid1::handle_acknowledge(const records::Acknowledge& acknowledge) {
    constexpr auto kind = static_cast<std::uint16_t>(Kind::acknowledge);
    if (acknowledge.count > records::kAcknowledged)
        return refuse(kind, EINVAL, "more than a record holds");
    for (std::uint32_t i = 0; i < acknowledge.count; ++i) {
        const auto& [slot, generation, pid] = acknowledge.statuses[i];
        if (state_.statuses.acknowledge(slot, generation, pid))
            state_.slot_descriptors.drop(slot, generation);
        else
            refuse(kind, ENOENT, "no such status is kept");
    }
}

void Pid1::handle_store(const records::NamedFd& named, int fd) {
    constexpr auto kind = static_cast<std::uint16_t>(Kind::store_fd);
    int stored = fd < 0 ? -EBADF : !state_.greeted ? -EPROTO : state_.store.store(named.name, fd);
    if (stored == 0) return;
    if (fd >= 0) close(fd);
    const char* reason = stored == -EBADF    ? "no descriptor came with it"
                         : stored == -EPROTO ? "before hello"
                         : stored == -EEXIST ? "the name is taken"
                         : stored == -ENOSPC ? "the store is full"
                                             : "not a name";
    refuse(kind, -stored, reason);
}

void Pid1::handle_store_slot(const records::SlotFds& named, Attached& attached) {
    int stored = !state_.greeted       ? -EPROTO
                 : attached.count == 0 ? -EBADF
                 : attached.count != named.count
                     ? -EMFILE
                     : state_.slot_descriptors.store(named, attached.fds);
    if (stored == 0) return;
    attached.close_from(0);
    const char* reason = stored == -EPROTO   ? "before hello"
                         : stored == -EBADF  ? "no descriptor came with it"
                         : stored == -EMFILE ? "not every descriptor came with it"
                         : stored == -ENOSPC ? "too many for one slot"
                                             : "not a slot";
    refuse(static_cast<std::uint16_t>(Kind::store_slot_fds), -stored, reason);
}

void Pid1::handle_upgrade(const records::Upgrade& to) {
    constexpr auto kind = static_cast<std::uint16_t>(Kind::upgrade);
    if (!ended(to.program, sizeof to.program) || to.program[0] != '/') {
        refuse(kind, EINVAL, "not a path");
    } else if (ending()) {
        refuse(kind, EBUSY, "the end has begun");
    } else {
        say("becoming ", to.program);
        int error = kernel_.become(to.program, state_); // returns on failure only
        Line reason("execute ", to.program, ": ", strerror(-error));
        refuse(kind, -error, reason.view());
    }
}

void Pid1::handle_shutdown(const records::Shutdown& shutdown) {
    bool known = shutdown.action == Action::poweroff || shutdown.action == Action::reboot ||
                 shutdown.action == Action::halt || shutdown.action == Action::exit;
    if (!known) {
        refuse(static_cast<std::uint16_t>(Kind::shutdown), EINVAL, "not an action");
    } else if (shutdown.action == Action::exit && !state_.container) {
        refuse(static_cast<std::uint16_t>(Kind::shutdown), EINVAL, "not in a container");
    } else {
        ask_end(shutdown.action, shutdown.exit_status, 0);
    }
}

void Pid1::handle_switch_root(const records::SwitchRoot& to) {
    constexpr auto kind = static_cast<std::uint16_t>(Kind::switch_root);
    if (!ended(to.new_root, sizeof to.new_root) || !ended(to.init, sizeof to.init)) {
        refuse(kind, EINVAL, "a path without an end");
    } else if (state_.container) {
        refuse(kind, EPERM, "in a container");
    } else if (ending()) {
        refuse(kind, EBUSY, "the end has begun");
    } else if (int bad = kernel_.check_new_root(to, state_); bad < 0) {
        Line reason("switch root to ", to.new_root, ": ",
                    bad == -EXDEV ? "not a mount point" : strerror(-bad));
        refuse(kind, -bad, reason.view());
    } else {
        state_.switch_root = to;
        ask_end(Action::switch_root, 0, 0);
    }
}

void Pid1::greet() {
    state_.greeted = true;
    send_pending();
}

bool Pid1::wants_to_write() const {
    if (state_.link_fd < 0 || !state_.greeted) return false;
    return !state_.statuses.all_sent() || !state_.kept_done || stop_is_due();
}

// One that was started during the end is told when it is up.
bool Pid1::stop_is_due() const {
    return state_.phase == Phase::stopping && state_.up && !state_.stop_sent;
}

void Pid1::on_link_writable() { send_pending(); }

void Pid1::send_pending() {
    if (state_.link_fd < 0 || !state_.greeted) return;
    int sent = 0;
    while (const records::Status* status = state_.statuses.next_unsent()) {
        Record record = records::make_record(Kind::status);
        record.payload.status = *status;
        if ((sent = send_record(state_.link_fd, record)) < 0) break;
        state_.statuses.mark_sent();
        ++state_.kept_statuses;
    }
    while (sent == 0 && !state_.kept_done) {
        const SlotDescriptors::Entry* slot = state_.slot_descriptors.next(state_.kept_slot_at);
        if (slot == nullptr) break;
        Record record = records::make_record(Kind::kept_slot_fds);
        record.payload.slot_fds = slot->named;
        sent = send_record(state_.link_fd, record, slot->fds, slot->named.count);
        if (sent < 0) break;
        ++state_.kept_slot_at;
        ++state_.kept_slots;
    }
    while (sent == 0 && !state_.kept_done) {
        const DescriptorStore::Entry* entry = state_.store.next(state_.kept_at);
        Record record = records::make_record(entry != nullptr ? Kind::kept_fd : Kind::kept_end);
        if (entry != nullptr) {
            std::memcpy(record.payload.kept_fd.name, entry->name, records::kFdNameSize);
        } else {
            record.payload.kept_end = {state_.kept_statuses, state_.kept_fds, state_.kept_slots};
        }
        sent = send_record(state_.link_fd, record, entry != nullptr ? entry->fd : -1);
        if (sent < 0) break;
        if (entry == nullptr) {
            state_.kept_done = true;
        } else {
            ++state_.kept_at;
            ++state_.kept_fds;
        }
    }
    if (sent == 0 && stop_is_due()) {
        Record record = records::make_record(Kind::stop);
        record.payload.stop = {state_.action, state_.stop_signal, state_.limits.stop};
        sent = send_record(state_.link_fd, record);
        if (sent == 0) state_.stop_sent = true;
    }
    // A broken link is seen by reading, where nothing is lost.
}

void Pid1::refuse(std::uint16_t kind, int error, std::string_view reason) {
    warn("refused record ", static_cast<int>(kind), " of the second stage: ", reason);
    Record record = records::make_record(Kind::refused);
    record.payload.refused.kind = kind;
    record.payload.refused.error_number = error;
    copy_field(record.payload.refused.reason, records::kReasonSize, reason);
    if (state_.link_fd >= 0) send_record(state_.link_fd, record); // if it does not read: said above
}

void Pid1::close_link() {
    if (state_.link_fd >= 0) close(state_.link_fd);
    state_.link_fd = -1;
    state_.greeted = false;
}

void Pid1::link_broken(int error) {
    close_link();
    if (state_.second_stage_pid == 0 || state_.phase > Phase::stopping) return;
    // It closes the link by dying: its exit status is next. If it lives it cannot be talked to.
    if (error != EPIPE) warn("the link to the second stage broke: ", strerror(error));
    kernel_.kill(state_.second_stage_pid, SIGKILL);
}

} // namespace muster::pid1
