// What is not from a process of ours: the kernel's messages and those to syslog(3).
//
//   service  stream  file        line
//   kernel   kernel  kernel.log  "warning usb 1-1: device not accepting address"
//   syslog   syslog  syslog.log  "auth.info sshd[12]: text", pid as the kernel knows the sender
//
// Both go into the ring (ring.h) and to `$log`. While the ring has no room, the kernel keeps its
// messages as long as it can, and who calls syslog(3) waits. Messages of /dev/kmsg are numbered: a
// new second stage goes on where the one before stopped. The socket /dev/log is kept by init.
//
// Sources: Linux Documentation/ABI/testing/dev-kmsg; syslog(3); RFC 3164 4.1; unix(7).
#pragma once

#include <memory>
#include <string>

#include "init/base/event_loop.h"
#include "init/dataspace/engine.h"
#include "services/log/journal.h"

namespace muster::logs {

// "<34>Oct 11 22:14:15 su[7]: text" -> "auth.crit su[7]: text". What it is not made like is taken
// as it is, as user.notice.
std::string syslog_line(std::string_view datagram);

struct KernelMessage {
    uint64_t sequence = 0;
    uint64_t monotonic_us = 0;
    std::string line; // "warning text"; its further lines, if it has such, after line feeds
};
// A record of /dev/kmsg. False if it is none.
bool parse_kernel_message(std::string_view record, KernelMessage& out);

class Sources {
  public:
    // Messages go to `log` in turns of `facet`. All must outlive this.
    Sources(dataspace::Engine& engine, EventLoop& loop, Ref<dataspace::Facet> facet,
            dataspace::CapRef log, Journal& journal);
    ~Sources();

    // ERRORS: cannot be opened; watched.
    Result<> take_kernel(const char* path = "/dev/kmsg");
    // A socket bound there before, or one that is made now; `socket()` is to be kept.
    static Result<Fd> make_socket(const char* path = "/dev/log");
    Result<> take_syslog(Fd socket);
    int socket() const { return socket_.get(); }

  private:
    void read_kernel();
    void read_syslog();
    void watch_again();
    Result<> watch_kernel();
    Result<> watch_syslog();
    void send(std::string_view service, int32_t pid, uint64_t time_us, const std::string& line);

    dataspace::Engine& engine_;
    EventLoop& loop_;
    Ref<dataspace::Facet> facet_;
    dataspace::CapRef log_;
    Journal& journal_;
    Ref<dataspace::Account> account_;
    Journal::Share share_;
    Fd kernel_, socket_;
    Watch kernel_watch_, socket_watch_;
};

} // namespace muster::logs
