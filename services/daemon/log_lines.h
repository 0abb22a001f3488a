// The lines that a process writes on its standard output and error, as messages to `$log`:
//
//   <log "2026-11-22T01:02:03.456789Z" {pid: 7 service: <daemon x> stream: stdout line: "hello"}>
//
// without their line feeds; a line of more than 8 KiB comes in pieces; what is not UTF-8 comes as a
// byte string. The messages are charged to one account for both streams: while it is in debt, the
// process waits for its readers. What the supervisor itself has to say comes the same way, as
// `stream: supervisor`.
//
// With a journal (services/log) the lines are also put into files, and it is the journal that the
// bytes are read into, so that none is lost if we are killed. Then messages have `filed: #t`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "init/base/event_loop.h"
#include "init/dataspace/engine.h"
#include "services/daemon/ledger.h"
#include "services/log/journal.h"

namespace muster::services {

// Now, RFC 3339, UTC, with microseconds.
std::string timestamp_now();

// `line` may hold any bytes. `pid` 0: left out.
preserves::Value log_record(const preserves::Value& service, std::string_view stream,
                            std::string_view line, pid_t pid);

class LogLines {
  public:
    // Messages go to `log` in turns of `facet`, which should outlive the process.
    LogLines(dataspace::Engine& engine, EventLoop& loop, Ref<dataspace::Facet> facet,
             dataspace::CapRef log, preserves::Value service, const std::string& name,
             logs::Journal* journal = nullptr, logs::Rotation rotation = {});
    ~LogLines();
    LogLines(const LogLines&) = delete;
    LogLines& operator=(const LogLines&) = delete;

    // Reads `fd`, the end of a pipe, from now on. `stream`: "stdout", a literal.
    Result<> add(Fd fd, const char* stream);
    // Before anything is read. For a process that was adopted: its incomplete lines are found
    // again.
    void set_pid(pid_t pid);
    // Takes what is there at the moment, whatever the account says, as messages of this turn.
    void drain(dataspace::Turn& turn);
    // The same, and closes both.
    void finish();
    // What was written last is kept there, and known to a successor of ours; it may be none.
    // Before anything is read.
    void remember_in(LedgerEntry& entry) { entry_ = entry ? &entry : nullptr; }
    // What was written last: whole lines, the newest at the end, few.
    std::vector<std::string> last_lines() const;

  private:
    struct Stream {
        Fd fd;
        uint32_t partial = logs::no_partial; // its place in the journal
        std::string rest;                    // of a line that is not complete
        const char* name = "";               // a literal
        uint64_t time_us = 0;                // of what was read last
        Watch watch;
        bool ended = false;
    };

    Result<> watch(Stream& stream);
    // Appends what is complete to `lines`. False if nothing is there, or at the end.
    bool read_some(Stream& stream, std::string& lines);
    bool is_over(const Stream& stream, size_t reads) const;
    void find_rest(Stream& stream);
    void take_rest(Stream& stream, std::string& lines);
    void remember(std::string_view lines);
    void send(const Stream& stream, std::string lines);
    void watch_all();
    void hold_back();

    dataspace::Engine& engine_;
    EventLoop& loop_;
    Ref<dataspace::Facet> facet_;
    dataspace::CapRef log_;
    preserves::Value service_;
    std::string name_;
    bool counted_ = false; // as one that the log writer waits for at the end
    pid_t pid_ = 0;
    logs::Journal* journal_;
    logs::Rotation rotation_;
    std::unique_ptr<logs::Journal::Share> share_;
    LedgerEntry* entry_ = nullptr;
    std::string last_; // the end of what was written, whole lines; with `entry_`: there instead
    Ref<dataspace::Account> account_;
    std::vector<std::unique_ptr<Stream>> streams_;
};

} // namespace muster::services
