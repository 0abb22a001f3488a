// What people and tools say to end the system: the command lines of shutdown(8), halt(8),
// poweroff(8), reboot(8) and telinit(8), as sysvinit, systemd and busybox have them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "init/base/result.h"

namespace muster::command {

struct ShutdownRequest {
    enum class What : uint8_t {
        poweroff,
        reboot,
        halt,
        single,  // telinit 1
        full,    // telinit 2 to 5
        reload,  // telinit q
        upgrade, // telinit u
        cancel,
        nothing, // said for its side effects, which we do not have
        help,
    };
    enum class When : uint8_t { now, minutes, time_of_day };

    What what = What::poweroff;
    When when = When::now;
    int64_t minutes = 0; // from now
    int hour = 0;        // the next time that it is HOUR:MINUTE
    int minute = 0;
    std::string message;
    bool force = false; // without anybody being asked
    bool sync = true;   // before that
    bool wall = true;   // tell everybody who is logged in
    bool only_wall = false;
};

// `name`: which command it is. ERRORS: what is wrong with the words.
Result<ShutdownRequest> parse_shutdown(std::string_view name,
                                       const std::vector<std::string>& words);
// One of those commands.
bool is_shutdown_command(std::string_view name);

} // namespace muster::command
