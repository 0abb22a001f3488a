// What operators said with `muster start` and `muster stop`, in a file in /run: it survives the
// second stage, not a reboot.
//
// The file holds one `<service-override S up|down>` per line. It is replaced as a whole.
#pragma once

#include <string>
#include <vector>

#include "init/base/result.h"
#include "init/preserves/value.h"

namespace muster::services {

struct Override {
    preserves::Value service;
    bool up;
};

// An absent file holds none. A line that is wrong is passed over and named in `remarks`.
std::vector<Override> load_overrides(const std::string& path, std::vector<std::string>& remarks);
// Services whose name holds a capability are left out: it means nothing to another process.
Result<> save_overrides(const std::string& path, const std::vector<Override>& overrides);

} // namespace muster::services
