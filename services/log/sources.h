// What is not from a process of ours: the kernel's messages and those to syslog(3).
//
//   service  stream  file        line
//   kernel   kernel  kernel.log  "warning usb 1-1: device not accepting address"
//   syslog   syslog  syslog.log  "auth.info sshd[12]: text", pid as the kernel knows the sender
//
// Both go into the ring (ring.h) and to `$log`, each with a share of its own. While there is no
// room in it, the kernel keeps its messages as long as it can, and who calls syslog(3) waits.
// Messages of /dev/kmsg are numbered: a new second stage goes on where the one before stopped. The
// socket /dev/log is kept by init.
//
// Sources: records.h; unix(7).
#pragma once

#include <memory>
#include <string>

#include "init/base/event_loop.h"
#include "init/dataspace/engine.h"
#include "services/log/journal.h"

namespace muster::logs {

class Sources {
  public:
    // Messages go to `log` in turns of `facet`. All must outlive this.
    Sources(dataspace::Engine& engine, EventLoop& loop, Ref<dataspace::Facet> facet,
            dataspace::CapRef log, Journal& journal);
    Sources(const Sources&) = delete;
    Sources& operator=(const Sources&) = delete;

    // ERRORS: cannot be opened; watched.
    Result<> take_kernel(const char* path = "/dev/kmsg");
    // A socket bound there before, or one that is made now; `socket()` is to be kept.
    static Result<Fd> make_socket(const char* path = "/dev/log");
    Result<> take_syslog(Fd socket);
    int socket() const { return syslog_.fd.get(); }

  private:
    struct Intake {
        Intake(Sources& owner, const char* name, void (Sources::*read)());
        ~Intake();
        Result<> watch();
        // Until there is room again.
        void hold() { watch_.cancel(); }
        bool may_read() { return account->clear() && share.may_read(); }

        const char* name; // service and stream
        Fd fd;
        Ref<dataspace::Account> account;
        Journal::Share share;

      private:
        void go_on();
        Sources& owner_;
        void (Sources::*read_)();
        Watch watch_;
    };

    void read_kernel();
    void read_syslog();
    void put(Intake& from, int32_t pid, uint64_t time_us, const std::string& line);

    dataspace::Engine& engine_;
    EventLoop& loop_;
    Ref<dataspace::Facet> facet_;
    dataspace::CapRef log_;
    Journal& journal_;
    Intake kernel_, syslog_;
};

} // namespace muster::logs
