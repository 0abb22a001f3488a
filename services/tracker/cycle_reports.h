// Services that wait for each other in a circle, and whether that was said already.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>

#include "services/tracker/service.h"

namespace muster::services {

class CycleReports {
  public:
    // Looks for cycles among the services that are needed and do not run; sets `Service::cycle`.
    // One that a weak tie is on is broken there in a while (bonds.h); it is not told of beside one
    // that stays, of the same services.
    // `say` gets a line for each that was not there before, `changed` each service that is on one
    // or no longer is.
    void update(ServiceTable& services, const std::function<void(const std::string&)>& say,
                const std::function<void(Service&)>& changed);

  private:
    std::unordered_map<std::string, bool> reported_; // text, still there
};

} // namespace muster::services
