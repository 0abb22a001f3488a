#include "services/muster/watch.h"

#include "init/base/event_loop.h"

namespace muster::command {

namespace {

constexpr uint64_t time_to_come_back = 5 * second;

std::string key_of(View value) {
    auto bytes = value.bytes();
    return {bytes.begin(), bytes.end()};
}

} // namespace

Error Watching::follow(Bus& bus, const std::vector<std::string>& spaces, const Value& pattern) {
    not_back_ = shown_;
    auto follower = Follower::start(bus, spaces, pattern,
                                    {.appeared = [this](View value) { appeared(value); },
                                     .gone = [this](View value) { gone(value); },
                                     .message = [this](View value) { show_("! ", value); }});
    uint64_t until = not_back_.empty() ? 0 : monotonic_now() + time_to_come_back;
    Result<bool> done = bus.run_until([&] { return until != 0 && not_back_.empty(); }, until);
    if (done && until != 0) {
        end_catching_up();
        done = bus.run_until([] { return false; });
    }
    return done ? Error{} : done.error();
}

void Watching::appeared(View value) {
    std::string key = key_of(value);
    not_back_.erase(key);
    if (shown_.emplace(std::move(key), Value(value)).second) show_("+ ", value);
}

void Watching::gone(View value) {
    if (shown_.erase(key_of(value)) > 0) show_("- ", value);
}

void Watching::end_catching_up() {
    for (const auto& [key, value] : std::exchange(not_back_, {}))
        gone(value);
}

} // namespace muster::command
