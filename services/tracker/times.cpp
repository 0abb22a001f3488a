#include "services/tracker/times.h"

namespace muster::services {

void Times::became(std::string_view word, uint64_t now) {
    if (word == word_) return;
    std::string_view before = word_;
    word_ = word;
    since_ = now;
    if (word == "stopped" || word == "stopping") return;
    bool was_down = before.empty() || before == "stopped" || before == "stopping";
    if (was_down || word == "waiting") rise_ = Rise{.demanded = now, .starting = 0, .ready = 0};
    if (word == "waiting") return;
    bool up = word == "running" || word == "complete";
    if (rise_.starting == 0 || (!up && rise_.ready != 0)) {
        rise_.starting = now;
        rise_.ready = 0;
    }
    if (!up || rise_.ready != 0) return;
    rise_.ready = now;
    if (first_.ready == 0) first_ = rise_;
}

void Times::encode(preserves::Encoder& out) const {
    auto rise = [&](std::string_view key, const Rise& times) {
        out.symbol(key);
        out.begin_record();
        out.symbol("rise");
        for (uint64_t time : {times.demanded, times.starting, times.ready})
            out.integer(static_cast<int64_t>(time));
        out.end();
    };
    out.symbol("since");
    out.integer(static_cast<int64_t>(since_));
    if (rise_.demanded != 0) rise("rise", rise_);
    if (first_.ready != 0 && first_.ready != rise_.ready) rise("first-rise", first_);
}

} // namespace muster::services
