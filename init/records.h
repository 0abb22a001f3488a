// What PID 1 and its second stage say to each other, and what they share.
//
// `init` (PID 1) has one child that it talks to, `dataspace`, the second stage. Between them are
//   - a SOCK_SEQPACKET socket pair on which every packet is one Record of exactly kRecordSize
//     bytes, with at most kSlotFds descriptors attached (SCM_RIGHTS);
//   - the state memfd, kSharedSize bytes, its size sealed, mapped shared by both: the table of
//     slots, one for each process that the second stage has started as a child of init.
// Both ends of both are close-on-exec everywhere but in the second stage itself, which gets its end
// of the socket as `--init-fd N` and the memfd with the first record.
//
// The life of the link
//
//   init                                       second stage
//   ----                                       ------------
//   makes the socket pair, queues `welcome`
//   (with the memfd), starts the program  -->  reads `welcome`, maps the memfd
//                                         <--  `hello` with its version
//   version wrong: `refused`, ends it
//   every exit status that was not yet
//   acknowledged as `status`, every kept
//   descriptor as `kept_fd`, those of slots
//   as `kept_slot_fds`, `kept_end`        -->  has everything back, goes on
//                                         <--  `up`, once, when it serves: from here on its death
//                                              does not count as a failed start
//   `status` for each registered exit     -->  handles it, then
//                                         <--  `acknowledge`, of all those that it handled at
//                                              once: init forgets them, their slots are free
//                                         <--  `store_fd`, `drop_fd`, `store_slot_fds`,
//                                              `drop_slot_fds`, `quiet` at any time
//                                         <--  `main_process`: a container ends with its status
//                                         <--  `replace`: it ends itself now, to be started from
//                                              a new program; no failure
//                                         <--  `upgrade`: init executes another init, which goes
//                                              on with its tables
//   `refused` for what could not be done  -->
//
// The end, whoever asks for it (a signal to PID 1, or `shutdown`, or `switch_root`):
//   `stop` with the action and a limit    -->  stops the services in their order
//                                         <--  `more_time`, any number of times, while a service
//                                              has more time to stop than the limit leaves; not
//                                              in a container, whose end others wait for
//                                         <--  `services_stopped`
//   A second stage that dies before it has said so is started again, with kEnding in its welcome,
//   and gets the same `stop` when it is up; the limit goes on from when the end began.
//   At `services_stopped`, at the limit, when the second stage was not up at the beginning of the
//   end or has died five times since, init goes on alone: TERM to
//   everything, a grace time, KILL to everything, unmounting in a child with a time limit, and the
//   action. A second `shutdown` may change the action before the last step; it cannot be called
//   off. `switch_root` is refused, before anything is stopped, when the new root is no mount point
//   or has no program to execute.
//
// A second stage that dies takes nothing with it: its services go on, their slots and descriptors
// remain, their exit statuses are kept and given to its successor, which adopts them all.
//
// The life of a slot
//
//   free --claim--> claimed, pid 0 --clone3--> claimed, pid > 0 --exit, status, acknowledge--> free
//                        |
//                        +--clone3 failed, release--> free
//
// The second stage writes the slot (name, cgroup, its own bytes), last of all `state`, and only
// then calls clone3(CLONE_PARENT | CLONE_PARENT_SETTID) with parent_tid = &pids[i]: the kernel
// writes the pid there before the child can run, so there is no moment at which init could reap a
// child without knowing that it is registered, whatever dies in between. init never writes to the
// memfd after it has made it. A pid that is in no claimed slot is a stranger and merely reaped.
// Statuses are kept in a table of init's own that has one entry for each slot, so it cannot
// overflow. A slot may be claimed again as soon as the `acknowledge` for it has been *sent*: init
// reads all pending records before it books a status, so it sees the acknowledgement first; and a
// slot of a later generation says the same. What was kept for a slot by `store_slot_fds` (the ends
// of a service's pipes, sent before its process is made) goes with the acknowledgement, with
// `drop_slot_fds`, or when something is stored for a later generation.
//
// Who believes whom: init checks every length, index, kind and string it reads here; nonsense is
// refused with a reason and changes nothing. Records are in host byte order: both ends run on one
// machine, and a different version is refused as a whole.
//
// Sources: socketpair(2), unix(7), clone3(2), memfd_create(2), fcntl(2) (file seals).
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace muster::records {

inline constexpr std::uint32_t kMagic = 0x5254534d; // "MSTR"
inline constexpr std::uint16_t kVersion = 3;        // of the records and of the memfd's layout
inline constexpr std::size_t kRecordSize = 512;     // bytes, every record
inline constexpr std::size_t kSlots = 1024;         // registered processes at the same time
inline constexpr std::size_t kStoredFds = 2048;     // descriptors that init keeps by name
inline constexpr std::size_t kSlotFds = 6;          // and for each slot
inline constexpr std::size_t kAcknowledged = 40;    // statuses in one record

// Strings are ended by a NUL within their field; one without is refused.
inline constexpr std::size_t kFdNameSize = 64;
inline constexpr std::size_t kPathSize = 224;
inline constexpr std::size_t kReasonSize = 256;

enum class Kind : std::uint16_t {
    // init to the second stage
    welcome = 1,
    status = 2,
    kept_fd = 3,
    kept_end = 4,
    refused = 5,
    stop = 6,
    signal = 7,
    kept_slot_fds = 8,
    // the second stage to init
    hello = 32,
    up = 33,
    acknowledge = 34,
    store_fd = 35,
    drop_fd = 36,
    services_stopped = 37,
    shutdown = 38,
    switch_root = 39,
    quiet = 40,
    store_slot_fds = 41,
    drop_slot_fds = 42,
    replace = 43,
    upgrade = 44,
    more_time = 45,
    main_process = 46,
};

// What the machine is to do at the end. In a container each of them ends init with an exit status.
enum class Action : std::uint32_t {
    none = 0,
    poweroff = 1,
    reboot = 2,
    halt = 3,
    exit = 4, // container only: with Shutdown::exit_status
    switch_root = 5,
};

// Bits of Welcome::flags.
inline constexpr std::uint32_t kContainer = 1;  // started with --container
inline constexpr std::uint32_t kCgroup2 = 2;    // /sys/fs/cgroup is a cgroup2 tree that is ours:
                                                // init.scope, muster.scope and services exist in it
inline constexpr std::uint32_t kCgroupKill = 4; // it has cgroup.kill
inline constexpr std::uint32_t kQuiet = 8;      // `quiet` was on the kernel command line
inline constexpr std::uint32_t kInitramfs = 16; // the root file system is an initramfs
inline constexpr std::uint32_t kEnding = 32;    // the end has begun: start nothing; `stop` follows
                                                // when you are up

// With the state memfd as its descriptor.
struct Welcome {
    std::uint32_t flags;
    std::uint32_t starts;         // second stages that were started before this one, since boot
    std::uint32_t slots;          // kSlots
    std::uint32_t stored_fds;     // kStoredFds
    std::int64_t init_start_ms;   // CLOCK_MONOTONIC when the first init was started by the kernel
    std::int64_t stop_limit_ms;   // how long a `stop` may take
    char init_program[kPathSize]; // path of init, for `init --exec`
    // What an init must be able to take over, for `init --takes-over VERSION SIZE`.
    std::uint32_t state_version;
    std::uint32_t state_size;
};

// A registered process has ended. Sent until acknowledged, once to each second stage.
struct Status {
    std::uint32_t slot;
    std::uint32_t generation; // of the slot when the process ended
    std::int32_t pid;
    std::int32_t wait_status; // as wait4(2) gives it: WIFEXITED and so on
    std::int64_t when_ms;     // CLOCK_MONOTONIC when it was reaped
    std::int64_t user_us;     // processor time, with its waited-for children
    std::int64_t system_us;
    std::int64_t max_rss_kib;
};

struct Acknowledge {
    std::uint32_t count; // of `statuses`
    struct {
        std::uint32_t slot;
        std::uint32_t generation;
        std::int32_t pid;
    } statuses[kAcknowledged];
};

// With the descriptor. store_fd is refused with EEXIST for a name that is there already, with
// ENOSPC when kStoredFds are kept; kept_fd hands one back, init keeps its own copy until drop_fd.
struct NamedFd {
    char name[kFdNameSize];
};

// With `count` descriptors, in the order of `roles`, which are the second stage's own. Refused with
// ENOSPC when more than kSlotFds would be kept for the slot. drop_slot_fds needs only the first
// two.
struct SlotFds {
    std::uint32_t slot;
    std::uint32_t generation;
    std::uint32_t count;
    std::uint8_t roles[8];
};

struct KeptEnd {
    std::uint32_t statuses; // how many of each came before this record
    std::uint32_t fds;      // by name
    std::uint32_t slots;    // with descriptors
};

// Answer to a record that was not obeyed.
struct Refused {
    std::uint16_t kind; // of the record that was refused
    std::uint16_t reserved;
    std::int32_t error_number; // as errno
    char reason[kReasonSize];  // one lower-case line
};

struct Stop {
    Action action;
    std::int32_t signal; // the signal that was the cause, 0 for a record
    std::int64_t limit_ms;
};

// A signal that init got and took no action on but this one: SIGHUP (reload), SIGWINCH (keyboard
// request). Those that end the system come as `stop`.
struct Signal {
    std::int32_t signal;
};

struct Hello {
    std::uint32_t version; // kVersion
};

// The one that takes longest still has so long. The limit is moved, never to less than it was and
// never by more than kLongestStop after the beginning of the end.
struct MoreTime {
    std::int64_t left_ms;
};
inline constexpr std::int64_t kLongestStop = 600'000; // milliseconds

// The process that is the main service of a container now; 0: there is none. However the container
// comes to its end, it is with this one's status once init has reaped it, also when that is after
// the second stage was to stop it and had no time left.
struct MainProcess {
    std::int32_t pid;
};

struct Shutdown {
    Action action;            // all but none and switch_root
    std::int32_t exit_status; // for Action::exit
};

struct SwitchRoot {
    char new_root[kPathSize]; // a mount point
    char init[kPathSize];     // path in it; empty: `init=` of the kernel command line, /sbin/init
};

// The program is to take over everything; it was asked whether it can (Welcome::state_version).
struct Upgrade {
    char program[kPathSize];
};

// Routine lines of init on the console, off (1) or on (0). Errors are always said.
struct Quiet {
    std::uint32_t quiet;
};

struct Record {
    std::uint32_t magic;   // kMagic
    std::uint16_t version; // kVersion
    std::uint16_t kind;    // Kind
    std::uint32_t reserved[2];
    union Payload {
        Welcome welcome;
        Status status;
        NamedFd kept_fd;
        KeptEnd kept_end;
        Refused refused;
        Stop stop;
        Signal signal;
        Hello hello;
        Acknowledge acknowledge;
        NamedFd store_fd;
        NamedFd drop_fd;
        Shutdown shutdown;
        SwitchRoot switch_root;
        Quiet quiet;
        SlotFds slot_fds; // kept_slot_fds, store_slot_fds, drop_slot_fds
        Upgrade upgrade;
        MoreTime more_time;
        MainProcess main_process;
        unsigned char bytes[kRecordSize - 16];
    } payload;
};
static_assert(sizeof(Record) == kRecordSize);
static_assert(std::is_trivially_copyable_v<Record>);

// A record of that kind with everything else zero.
inline Record make_record(Kind kind) {
    Record record;
    unsigned char* byte = reinterpret_cast<unsigned char*>(&record);
    for (std::size_t i = 0; i < sizeof record; ++i)
        byte[i] = 0;
    record.magic = kMagic;
    record.version = kVersion;
    record.kind = static_cast<std::uint16_t>(kind);
    return record;
}

// --- the state memfd ---

enum SlotState : std::uint32_t { kSlotFree = 0, kSlotClaimed = 1 };

inline constexpr std::size_t kSlotNameSize = 192;
inline constexpr std::size_t kSlotCgroupSize = 160;
inline constexpr std::size_t kSlotOpaqueSize = 128;

struct Slot {
    std::uint32_t state;      // SlotState; written last
    std::uint32_t generation; // one more for each claim, never 0 in a claimed slot
    std::uint32_t flags;      // the second stage's own
    std::uint32_t reserved[3];
    std::int64_t start_ms;                 // CLOCK_MONOTONIC of the claim
    char name[kSlotNameSize];              // for people: `daemon foo`; cut to fit
    char cgroup[kSlotCgroupSize];          // below /sys/fs/cgroup: `services/foo`; may be empty
    unsigned char opaque[kSlotOpaqueSize]; // the second stage's own
};
static_assert(sizeof(Slot) == 512);

struct SharedState {
    std::uint32_t magic;   // kMagic
    std::uint16_t version; // kVersion
    std::uint16_t reserved0;
    std::uint32_t slot_count; // kSlots
    std::uint32_t slot_size;  // sizeof(Slot)
    unsigned char reserved[4096 - 16];
    std::int32_t pids[kSlots]; // by slot; target of CLONE_PARENT_SETTID; 0: none
    Slot slots[kSlots];
};
static_assert(offsetof(SharedState, pids) == 4096);
static_assert(offsetof(SharedState, slots) == 8192);

inline constexpr std::size_t kSharedSize = sizeof(SharedState); // 520 KiB, of which only what was
                                                                // used is there

// --- what `init --exec` reports ---

// Written to the descriptor of `--error-fd` when a step fails; the program then exits with 127.
// End of file without it: the program was executed.
struct ExecFailure {
    std::uint32_t magic; // kMagic
    std::int32_t error_number;
    char step[248]; // one lower-case phrase: `open /dev/tty1`
};
static_assert(sizeof(ExecFailure) == 256);

} // namespace muster::records
