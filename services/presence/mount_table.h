// What is mounted: /proc/self/mountinfo (proc(5)), which tells by POLLPRI when it has changed.
//
//   closed  nobody wants to know
//     |  the first subscriber
//     v
//   open    the file is watched; each change is told to all subscribers, which may then `read`
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "init/base/event_loop.h"
#include "init/base/ref.h"
#include "init/base/result.h"

namespace muster::services {

struct Mount {
    std::string source;
    std::string type;
    std::string root; // of what is mounted, within its file system
    bool read_only = false;
    bool operator==(const Mount&) const = default;
};
using Mounts = std::map<std::string, Mount>; // by the path where it is mounted

// Lines that are not as they should be are passed over. Of several mounts at one place the last one
// counts, which lies on top.
Mounts parse_mounts(std::string_view mountinfo);

class MountTable : public Counted {
  public:
    explicit MountTable(EventLoop& loop) : loop_(loop) {}

    // ERRORS: there is no /proc, or no memory.
    Result<Mounts> read();

    // Calls `changed` from the event loop after each change, until `unsubscribe` with the number
    // that this returns. ERRORS: as above; then nothing was subscribed.
    Result<size_t> subscribe(std::function<void()> changed);
    void unsubscribe(size_t number);

  private:
    EventLoop& loop_;
    Fd file_;
    Watch watch_;
    std::map<size_t, std::function<void()>> subscribers_;
    size_t next_ = 1;
};

} // namespace muster::services
