#include "services/system/repeats.h"

namespace muster::services {

void Repeats::say(const std::string& line) {
    auto found = lasting_.find(line);
    bool again = found != lasting_.end();
    if (!again) say_(line);
    if (!again && lasting_.size() >= most) return;
    Timer& timer = again ? found->second : lasting_[line];
    timer = loop_.after(quiet_, [this, line] {
        auto over = lasting_.extract(line); // with this
        say_(over.key() + ": no longer");
    });
}

} // namespace muster::services
