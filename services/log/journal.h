// The second stage's side of the ring (ring.h): where everything goes that is to be in a file.
//
//   closed --open: what a predecessor had read and not finished is finished--> open
//
// Whoever reads lines asks for `may_read` first, reads into `buffer()`, and calls `take`. When it
// may not, it stops reading, which is what holds its writer back, and is called by `on_space`.
// Nobody may fill the ring: how much of it one source may have waiting is a quarter of what is
// free, so there is always room for those who say little.
//
// A process that was adopted goes on with the line that it was at: `resume`. What nobody resumes
// becomes a line of its own: `finish_orphans`.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "init/base/event_loop.h"
#include "init/base/fd_keeper.h"
#include "services/log/ring.h"

namespace muster::logs {

// The service that takes the lines out again: it is the last one to end.
inline constexpr std::string_view writer_name = "log-writer";

// Cuts a stream of bytes into lines of at most longest_line bytes, each with its line feed.
// `rest` is what was there before, and what is left.
void split_lines(std::string& rest, std::string_view bytes, std::string& lines);

class Journal {
  public:
    // `folder`: /run/muster. `loop` must outlive it.
    // ERRORS: as Ring::open; what goes without it: files, and nothing else.
    static Result<std::unique_ptr<Journal>> open(EventLoop& loop, const std::string& folder);
    ~Journal();
    Journal(const Journal&) = delete;
    Journal& operator=(const Journal&) = delete;

    // A source's share of the ring. Unlinks itself.
    class Share {
      public:
        Share(Journal& journal, std::function<void()> on_space);
        ~Share();
        Share(const Share&) = delete;
        Share& operator=(const Share&) = delete;
        // False: stop reading until `on_space` comes. `anyway`: it has ended, and what it wrote is
        // little.
        bool may_read(bool anyway = false);

      private:
        friend class Journal;
        Journal& journal_;
        std::function<void()> on_space_;
        uint64_t waiting_ = 0; // bytes, up to `last_`
        uint64_t last_ = 0;    // head after its last block
        bool held_ = false;
    };

    // For one read(2) of at most intake_size bytes, by the source.
    char* buffer(const Source& source, uint32_t partial);
    // `size` bytes are in the buffer. What is complete with `rest` goes to the ring, and to `lines`
    // if that is not null. Returns the time of these lines. REQUIRES: may_read said so.
    uint64_t take(Share& share, uint32_t& partial, std::string& rest, size_t size,
                  std::string* lines);
    // What was read into the buffer has been `put`.
    void taken(size_t size) { clear_intake(size); }
    // The stream has ended: what is left is a line.
    void finish(const Source& source, uint32_t& partial, std::string& rest,
                uint64_t time_us = realtime_us());
    // Goes on with a stream whose LogLines cannot wait for room; until its end or until it has
    // nothing more.
    void leave(Source source, Fd fd, uint32_t partial, std::string rest);
    // Who keeps such a stream over our death, as soon as nothing of its process is kept any more.
    static constexpr std::string_view kept_prefix = "log-end ";
    void set_keeper(FdKeeper keeper) { keeper_ = std::move(keeper); }
    // What a second stage before us had left, and kept by this name. REQUIRES: a keeper, and that
    // nobody was adopted yet.
    void take_left(const std::string& name, Fd fd);
    // Whether that is so of this stream: killed at the wrong moment, a second stage leaves it and
    // its process, too.
    bool took_left(int32_t pid, std::string_view stream) const;
    // A line that did not come from a pipe. It may have several lines, and no line feed at its end.
    // REQUIRES: may_read said so.
    void put(Share& share, const Source& source, std::string_view text, uint64_t time_us);
    // The same for few.
    void put(const Source& source, std::string_view text, uint64_t time_us = realtime_us());

    // The incomplete line that this stream had before we began; true if there is one.
    bool resume(int32_t pid, std::string_view stream, uint32_t& partial, std::string& rest);
    void finish_orphans();

    // What holds where a source says nothing.
    void set_default(Rotation rotation) { default_ = rotation; }
    Shared& shared() { return ring_.shared(); }
    // The system goes down: the writer ends when no stream but its own is open.
    void set_ending();
    void stream_opened(int count);
    // The writer is looked after while somebody waits for room: when it has taken nothing out for
    // so long, that is said, and again for as long as it lasts, and `restart` is called.
    void set_stuck(std::function<void()> restart, uint64_t patience = 10 * second) {
        restart_writer_ = std::move(restart);
        patience_ = patience;
    }
    // Called when the writer begins or lines were lost: once, with what to say.
    void set_report(std::function<void(const std::string&)> report) { report_ = std::move(report); }

  private:
    struct Leftover;
    Journal(EventLoop& loop, Ring ring);
    void recover();
    void woken();
    void settle_writing();
    void await_writer();
    void stuck();
    void release_shares();
    Source complete(Source source) const;
    void charge(Share& share, uint64_t before);
    void go_on_with(const Source& source, Fd fd, uint32_t partial, std::string rest, Left* left);
    std::span<Left> lefts();
    void read_leftovers();
    void clear_intake(size_t size);

    EventLoop& loop_;
    Ring ring_;
    Watch watch_;
    std::vector<Share*> shares_; // that are held
    std::vector<std::unique_ptr<Leftover>> leftovers_;
    std::vector<uint32_t> orphans_; // incomplete lines of before, resumed by nobody so far
    FdKeeper keeper_;
    bool adopted_ = false; // who was to be adopted has been
    std::function<void(const std::string&)> report_;
    Rotation default_;
    std::function<void()> restart_writer_;
    uint64_t patience_ = 0; // nanoseconds
    uint64_t seen_tail_ = 0;
    Timer stuck_; // while somebody waits
};

} // namespace muster::logs
