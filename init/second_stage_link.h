// The second stage's side of the link to init: see records.h for what is said and when.
//
// With init (`--init-fd N`) the second stage starts its processes with CLONE_PARENT and learns of
// their ends from `status` records. By itself (`standalone`) it is their parent and waits for them;
// slots work the same, so that starting a process is the same code: claim, clone with
// parent_tid = pid_cell(), release on failure, forget when the end has been handled.
//
// Sends block only while PID 1 is busy, which never waits for us. Nothing here is thread-safe.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "init/base/fd.h"
#include "init/base/result.h"
#include "init/records.h"

namespace muster {

// A claimed slot of the state memfd.
struct SlotRef {
    std::uint32_t index = 0;
    std::uint32_t generation = 0;
};

class SecondStageLink {
  public:
    struct Received {
        records::Record record;
        std::vector<Fd> fds; // of kept_fd, kept_slot_fds
    };

    // What init kept of a second stage that died.
    struct Kept {
        std::map<std::string, Fd, std::less<>> named;
        struct Slot {
            SlotRef slot;
            std::vector<std::uint8_t> roles;
            std::vector<Fd> fds;
        };
        std::vector<Slot> slots;
        std::vector<records::Status> statuses;
    };

    // Takes over the inherited socket: reads `welcome`, maps the memfd, says `hello`. Sets
    // close-on-exec. What was kept follows: `collect` before anything else.
    // ERRORS: not a socket, no or a wrong welcome, a memfd of another size or version.
    static Result<SecondStageLink> connect(int init_fd);

    // Waits for all that init kept. Other records that come meanwhile are given by `receive`
    // later, which is not seen on `fd()`. What is not wanted any more has to be given
    // up by `drop_fd` and `drop_slot_fds`.
    Result<Kept> collect();

    // Without init: the slots are private memory, `receive` has nothing, sends do nothing.
    static Result<SecondStageLink> standalone();

    SecondStageLink(SecondStageLink&& other) noexcept;
    SecondStageLink& operator=(SecondStageLink&& other) noexcept;
    ~SecondStageLink();

    // True: init is the parent of what we start (use CLONE_PARENT, never wait for it).
    bool attached() const { return socket_.valid(); }
    // To be polled for reading; -1 without init. End of file cannot be: without PID 1 nothing runs.
    int fd() const { return socket_.get(); }
    const records::Welcome& welcome() const { return welcome_; }

    // The next record from init, nothing when there is none at the moment. Never blocks.
    Result<std::optional<Received>> receive();

    // --- slots ---

    // Writes the intent to start a process. `name` and `cgroup` are cut to their fields.
    // ERRORS: every slot is taken.
    Result<SlotRef> claim(std::string_view name, std::string_view cgroup);
    // What clone3's parent_tid must point to.
    pid_t* pid_cell(SlotRef slot);
    // The process was not started.
    void release(SlotRef slot);
    // The end of this process has been handled; the slot is free again. Also the way to be rid of
    // statuses from before a restart. It is sent before the next record and before a slot is
    // claimed again, or by `flush`, or when there are many.
    Result<> acknowledge(SlotRef slot, pid_t pid);
    Result<> flush();
    // Standalone only, the same after our own wait.
    void forget(SlotRef slot) { release(slot); }
    // Any slot, for adoption: read `state`, `name`, `cgroup`, `opaque`; write `flags`, `opaque`.
    records::Slot& slot(std::uint32_t index) { return shared_->slots[index]; }
    pid_t pid(std::uint32_t index) const;

    // --- kept descriptors ---

    // init keeps a copy of `fd` under `name` (at most kFdNameSize - 1 bytes) over our death.
    // ERRORS: the store is full, the name is too long or taken.
    Result<> store_fd(std::string_view name, int fd);
    Result<> drop_fd(std::string_view name);

    // init keeps copies of descriptors for the process in this slot until its end is acknowledged;
    // `roles` tell them apart. To be sent before the process is made.
    struct SlotFd {
        std::uint8_t role;
        int fd;
    };
    Result<> store_slot_fds(SlotRef slot, const SlotFd* fds, std::size_t count);
    Result<> drop_slot_fds(SlotRef slot);

    // --- the rest ---

    Result<> up();
    Result<> services_stopped();
    // After `stop`: somebody still has so long.
    Result<> more_time(std::int64_t left_ms);
    // In a container: ends with this one's status; 0: none.
    Result<> main_process(pid_t pid);
    // init stops everything and then does this; `stop` comes back first.
    Result<> shutdown(records::Action action, int exit_status = 0);
    // ERRORS: a path is too long. Whether it can be done comes as `stop` or `refused`.
    Result<> switch_root(std::string_view new_root, std::string_view init_program);
    Result<> quiet(bool on);
    // We end ourselves, to be started again from a new program.
    Result<> replace();
    // init executes another one, which takes its tables over. What cannot be done is `refused`.
    Result<> upgrade(std::string_view program);

  private:
    SecondStageLink() = default;
    Result<> send(const records::Record& record, const int* fds = nullptr, std::size_t count = 0);
    Result<> send_now(const records::Record& record, const int* fds, std::size_t count);
    void note_name(const records::Record& record);
    void unmap();

    Fd socket_;
    records::SharedState* shared_ = nullptr; // mmap of kSharedSize bytes
    records::Welcome welcome_{};
    std::uint32_t next_ = 0;         // no slot below it is free
    std::vector<std::string> names_; // of the stored descriptors
    std::deque<Received> early_;     // came while we collected
    records::Acknowledge handled_{}; // not yet acknowledged
};

} // namespace muster
