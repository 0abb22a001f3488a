// `muster watch`: what comes, goes and passes, also over the end of the second stage.
//
//   following --the connection ends, another one is made--> catching up
//   catching up   what is new is shown at once; what was there and has not come back within 5
//     |           seconds, the time that assertions linger (services/README.md), is gone
//     v
//   following
//
// Messages of the time between are lost.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "services/muster/bus.h"

namespace muster::command {

class Watching {
  public:
    // `show` gets "+ ", "- " or "! ", and what it is about.
    explicit Watching(std::function<void(const char* sign, View value)> show)
        : show_(std::move(show)) {}

    // Until the connection ends, and why. Again with the next one.
    Error follow(Bus& bus, const std::vector<std::string>& spaces, const Value& pattern);

  private:
    void appeared(View value);
    void gone(View value);
    void end_catching_up();

    std::function<void(const char*, View)> show_;
    std::map<std::string, Value> shown_;    // that are there, by canonical bytes
    std::map<std::string, Value> not_back_; // of these, while catching up
};

} // namespace muster::command
