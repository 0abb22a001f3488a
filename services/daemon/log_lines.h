// The lines that a process writes on its standard output and error, as messages to `$log`:
//
//   <log "2026-11-22T01:02:03.456789Z" {pid: 7 service: <daemon x> stream: stdout line: "hello"}>
//
// without their line feeds; a line of more than 8 KiB comes in pieces; what is not UTF-8 comes as a
// byte string. The messages are charged to one account for both streams: while it is in debt, the
// process waits for its readers. What the supervisor itself has to say comes the same way, as
// `stream: supervisor`.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "init/base/event_loop.h"
#include "init/dataspace/engine.h"

namespace muster::services {

// Now, RFC 3339, UTC, with microseconds.
std::string timestamp_now();

// `line` may hold any bytes. `pid` 0: left out.
preserves::Value log_record(const preserves::Value& service, std::string_view stream,
                            std::string_view line, pid_t pid);

// Cuts a stream of bytes into lines.
class LineSplitter {
  public:
    static constexpr size_t longest = 8192; // bytes

    // Appends the lines that `bytes` complete.
    void take(std::string_view bytes, std::vector<std::string>& lines);
    // The rest, at the end; false if there is none.
    bool finish(std::string& line);

  private:
    std::string rest_;
};

class LogLines {
  public:
    // Messages go to `log` in turns of `facet`, which should outlive the process.
    LogLines(dataspace::Engine& engine, EventLoop& loop, Ref<dataspace::Facet> facet,
             dataspace::CapRef log, preserves::Value service, const std::string& name);
    ~LogLines();
    LogLines(const LogLines&) = delete;
    LogLines& operator=(const LogLines&) = delete;

    // Reads `fd`, the end of a pipe, from now on. `stream`: "stdout".
    Result<> add(Fd fd, std::string stream);
    void set_pid(pid_t pid) { pid_ = pid; }
    // Takes what is there at the moment, whatever the account says, and closes both.
    void finish();

  private:
    struct Stream {
        Fd fd;
        std::string name;
        LineSplitter splitter;
        Watch watch;
    };

    Result<> watch(Stream& stream);
    // False at the end of the stream.
    bool read_some(Stream& stream);
    void send(const Stream& stream, std::vector<std::string> lines);
    void hold_back();

    dataspace::Engine& engine_;
    EventLoop& loop_;
    Ref<dataspace::Facet> facet_;
    dataspace::CapRef log_;
    preserves::Value service_;
    pid_t pid_ = 0;
    Ref<dataspace::Account> account_;
    std::vector<std::unique_ptr<Stream>> streams_;
};

} // namespace muster::services
