// Who uses what at the moment: memory, processor time, processes and restarts of each service.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "services/muster/bus.h"
#include "services/muster/figures.h"
#include "services/muster/json.h"
#include "services/muster/screen.h"
#include "services/muster/world.h"

namespace muster::command {

struct TopOptions {
    bool json = false;
    uint64_t rounds = 0;        // how many; 0: until told to stop
    uint64_t delay = 2'000'000; // microseconds
};

enum class TopOrder : uint8_t { cpu, memory, restarts, name };

// A line of it.
struct Use {
    size_t unit = 0;
    Figures figures;
    double cpu = 0;     // per cent of one processor, since the look before, or since it was started
    uint64_t alive = 0; // microseconds
};

// Keeps what was used until the look before.
class Uses {
  public:
    std::vector<Use> look(const World& world, uint64_t now);

  private:
    struct Before {
        uint64_t cpu, time;
        pid_t pid;
    };
    std::unordered_map<std::string, Before> before_; // by the name as shown
};

void sort_uses(std::vector<Use>& uses, const World& world, TopOrder order);
// As many lines as the screen has; the first are the totals and the names of the columns.
std::vector<std::string> top_lines(const World& world, const std::vector<Use>& uses,
                                   const Screen& screen, TopOrder order);

// Until `q`, the end of the input, a signal, or so many rounds. The terminal is afterwards as it
// was. Changes of services are shown at once, figures each `delay`.
int top(Bus& bus, const TopOptions& options);

} // namespace muster::command
