// The lines between the second stage, which reads them, and the log writer, which puts them into
// files: a ring in a file of /run that both have mapped.
//
// It belongs to neither, so that either may be killed at any moment and no line is lost: what was
// read is in here before anything else happens, and stays until the writer says that it is in its
// file.
//
// What a line goes through
//
//   pipe --read(2)--> intake --split into lines--> ring --write(2)--> file
//
//   intake   the bytes of one read, straight from the kernel into the shared memory. It is all
//            zeros otherwise, so that after a crash within the call what is not zero was read.
//   partial  what a stream has written of a line that is not complete, one place for each stream
//            that has such a line at the moment
//   ring     blocks of complete lines, each with where they are from. `head` moves when a block is
//            whole, `tail` when it is in its file.
//
// `Intake` and `head` say after a crash of the reader which of these steps were done; `Batch` tells
// a new writer how far the file was before the block that its predecessor was at.
//
// Who moves `tail`: while `writing`, the writer, and a full ring makes the reader wait. Otherwise
// the reader: the oldest lines make room for new ones, and `dropped` counts them. Only the reader
// changes `writing`; the writer asks with `wants_to_write`.
//
// Waking: the writer sleeps in futex(2) on `word`; the reader waits for a byte in a FIFO beside the
// file, after it has set `held`. Nobody wakes for nothing.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "init/base/fd.h"
#include "init/base/result.h"

namespace muster::logs {

// How the files of a service are rotated; 0: the default (files.h).
struct Rotation {
    uint32_t size_kib = 0;  // a file that is larger makes room for a new one
    uint32_t age_hours = 0; // so does one that is older
    uint16_t number = 0;    // files of before that are kept
    uint16_t none = 0;      // 1: no files at all
};

// Where lines are from. Plain data: it lies in shared memory.
struct Source {
    int32_t pid = 0; // 0: not said
    Rotation rotation;
    uint16_t name_size = 0;
    uint16_t stream_size = 0;
    char name_bytes[200] = {}; // as people write the service: `sshd`, `<getty "tty1">`; logged_name
    char stream_bytes[24] = {}; // stdout, stderr, supervisor, kernel, …; cut to fit

    Source() = default;
    Source(std::string_view service, std::string_view stream, int32_t pid, Rotation rotation = {});
    std::string_view name() const { return {name_bytes, name_size}; }
    std::string_view stream() const { return {stream_bytes, stream_size}; }
    bool sound() const { // as read from memory that another process could have written
        return name_size <= sizeof name_bytes && stream_size <= sizeof stream_bytes;
    }
};

// What stands before a block in the ring; name, stream and text follow.
struct Block {
    uint32_t size; // of all, a multiple of 8
    uint16_t kind; // pad or lines
    uint16_t name_size;
    uint16_t stream_size;
    uint16_t reserved;
    int32_t pid;
    uint64_t time_us; // CLOCK_REALTIME
    Rotation rotation;
    uint32_t text_size; // lines, each with its line feed
};

inline constexpr size_t ring_size = 1024 * 1024; // bytes of blocks
inline constexpr size_t intake_size = 16 * 1024;
inline constexpr size_t longest_line = 8192;
inline constexpr size_t partial_count = 2048; // as many as there can be streams
// More than any block that one read makes.
inline constexpr size_t largest_block = intake_size + 2 * longest_line + 512;

// What has been read at this moment, and how far it has got.
struct Intake {
    Source source;
    uint32_t partial;                // index of the stream's place, or no_partial
    std::atomic<uint32_t> step;      // how far it has got: see journal.cpp
    std::atomic<uint64_t> next_head; // of the ring, when its lines are in there; 0: none yet
    uint32_t rest_size;
    char rest[longest_line];
    char bytes[intake_size];
};
inline constexpr uint32_t no_partial = 0xffff'ffff;

struct Partial {
    std::atomic<uint32_t> size; // 0: free
    Source source;
    char bytes[longest_line];
};

// A stream that is still read although its process is forgotten: whose it is. Its descriptor is
// kept by the name of its pid and stream.
struct Left {
    std::atomic<uint32_t> used;
    Source source;
};
inline constexpr size_t left_count = 256; // at once; more are lost if we are killed

// The block that the writer is at: until its end is in the file, `offset` was the file's size.
struct Batch {
    std::atomic<uint32_t> active;
    uint32_t reserved;
    uint64_t position; // of the block: if it is the tail still, it may be in the file in part
    uint64_t offset;
    uint64_t inode;
    char file[256]; // its name below the folder, NUL-ended
};

struct Shared {
    uint32_t magic;
    uint32_t version;
    std::atomic<uint64_t> head; // bytes ever put in
    std::atomic<uint64_t> tail; // bytes ever taken out
    std::atomic<uint64_t> dropped;
    std::atomic<uint32_t> writing;
    std::atomic<uint32_t> wants_to_write;
    std::atomic<uint32_t> word;
    std::atomic<uint32_t> sleeping;        // the writer
    std::atomic<uint32_t> held;            // the reader
    std::atomic<uint32_t> ending;          // the system goes down
    std::atomic<uint32_t> streams;         // open ones but the writer's own, at the end
    std::atomic<uint64_t> kernel_sequence; // of the next message of /dev/kmsg
    uint32_t partials_there;               // partials before this one are allocated
    Batch batch;
    uint32_t left_there; // of these were ever used
    Left left[left_count];
    alignas(4096) Intake intake;
    alignas(4096) unsigned char data[ring_size];
    alignas(4096) Partial partials[partial_count];
};

class Ring {
  public:
    enum class For : uint8_t { reading, writing, looking };

    // `folder`/log.ring and the FIFO `folder`/log.wake. The second stage (`reading`) makes them,
    // and makes them anew when they are not sound; others find them. ERRORS: cannot be opened, made
    // or mapped; is of another version.
    static Result<Ring> open(const std::string& folder, For purpose);
    Ring(Ring&& other) noexcept;
    Ring& operator=(Ring&& other) noexcept;
    ~Ring();

    Shared& shared() const { return *shared_; }
    // The reader's end is to be watched, and drained by `drain_wake`; the writer's is written by
    // `wake_reader`.
    int wake_fd() const { return wake_.get(); }
    void drain_wake() const;

    // --- the reader ---

    size_t used() const;
    size_t space() const { return ring_size - used(); }
    // Puts a block of lines in. While nobody writes, the oldest make room; lines for which there is
    // no memory are counted as dropped. False if there is no room now. `announce` is called before,
    // with what `head` will be. REQUIRES: each line of `text` ends with a line feed; text.size() <=
    // intake_size + 2 * longest_line.
    bool append(const Source& source, uint64_t time_us, std::string_view text,
                const std::function<void(uint64_t)>& announce = {});
    // What a stream has of an incomplete line; `index` no_partial: a free place is found. An empty
    // `rest` frees it.
    void set_partial(uint32_t& index, const Source& source, std::string_view rest);
    void wake_writer() const;

    // --- the writer, and who looks ---

    struct Lines {
        Source source;
        uint64_t time_us = 0;
        std::string text;
        uint64_t at = 0;  // of the block
        uint64_t end = 0; // what `tail` becomes
    };
    // The block at `position`, which is from `tail` to before `head`. ERRORS: it is not sound.
    Result<Lines> block_at(uint64_t position) const;
    // Everything before `position` is in its file.
    void written(uint64_t position) const;
    // Until something changed since `seen`, a value of `word`.
    void sleep(uint32_t seen) const;
    void wake_reader() const;

  private:
    Ring() = default;
    enum class Room : uint8_t { here, none, never };
    Room make_room(const Source& source, size_t text_size);
    void start_over_if_empty(size_t needed);
    void copy_in(uint64_t position, const void* from, size_t size);
    void copy_out(uint64_t position, void* to, size_t size) const;
    bool sound() const;

    // A file in a full /run has no more pages: touching one would be a SIGBUS.
    bool allocate(uint64_t position, size_t size);
    bool allocate_partial(uint32_t index);

    Fd file_;
    Fd wake_;
    Shared* shared_ = nullptr;
    uint64_t chunks_ = 0; // of `data`, that are allocated
};

// Now, CLOCK_REALTIME in microseconds.
uint64_t realtime_us();

} // namespace muster::logs
