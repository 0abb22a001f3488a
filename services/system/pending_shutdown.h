// An end of the system that somebody asked for at a later time. At most one: a new one takes the
// place of the one before.
//
// What is asked for is `<shutdown ACTION DUE MESSAGE WHO>`; ACTION is poweroff, reboot or halt, DUE
// `<at SECONDS>` since 1970 or `<in SECONDS>` of CLOCK_BOOTTIME, MESSAGE and WHO are strings. While
// it is pending, it is asserted in `$config` and `$status` as `<pending-shutdown …>`, and a
// service, <daemon shutdown>, is required that waits, warns those who are logged in, and asks for
// the end when it is time (services/muster/shutdown.h): so nothing here waits, and the crash of
// anything loses nothing. It is kept in a file over the life of a second stage, not over a reboot.
#pragma once

#include <string>
#include <vector>

#include "init/base/result.h"
#include "init/dataspace/dataspace.h"

namespace muster::services {

class PendingShutdown {
  public:
    // `path`: where it is kept; empty: nowhere.
    PendingShutdown(dataspace::CapRef config, dataspace::CapRef status, std::string path)
        : config_(std::move(config)), status_(std::move(status)), path_(std::move(path)) {}

    // All of them in turns of one facet, which must outlive what is pending.
    // What an earlier second stage has left. ERRORS: the file cannot be read or says nonsense.
    Result<> load(dataspace::Turn& turn);
    // ERRORS: that is no request; it could not be kept (it is pending all the same).
    Result<> set(dataspace::Turn& turn, preserves::View request);
    // Whether there was one.
    bool cancel(dataspace::Turn& turn);

  private:
    Result<> begin(dataspace::Turn& turn, preserves::View request);

    dataspace::CapRef config_;
    dataspace::CapRef status_;
    std::string path_;
    std::vector<dataspace::Handle> asserted_;
};

} // namespace muster::services
