#include "services/tracker/cycle_reports.h"

#include <algorithm>
#include <unordered_set>

#include "services/tracker/cycles.h"

namespace muster::services {

void CycleReports::update(ServiceTable& services,
                          const std::function<void(const std::string&)>& say,
                          const std::function<void(Service&)>& changed) {
    std::vector<Service*> waiting;
    std::unordered_map<Value, size_t, preserves::ValueHash, preserves::ValueEqual> number;
    for (auto& [name, each] : services) {
        if (!each.needed || !each.allowed() || each.run) continue;
        number.emplace(name, waiting.size());
        waiting.push_back(&each);
    }
    std::vector<std::vector<size_t>> hard(waiting.size()), all(waiting.size());
    bool any_weak = false;
    for (size_t i = 0; i < waiting.size(); ++i)
        for (const auto& [dependee, dependency] : waiting[i]->dependencies) {
            if (dependency.met || !dependency.service.valid()) continue;
            if (dependency.bond == Bond::displaces) continue; // what it waits for is on its way out
            auto found = number.find(dependency.service);
            if (found == number.end()) continue;
            bool weak = is_weak(dependency.bond);
            if (!weak) hard[i].push_back(found->second);
            all[i].push_back(found->second);
            any_weak = any_weak || weak;
        }
    for (auto& [text, there] : reported_)
        there = false;
    std::unordered_set<const Service*> on_one;
    auto name = [&](const std::vector<size_t>& cycle) {
        std::vector<Value> names;
        std::string text;
        bool broken = false;
        for (size_t i = 0; i < cycle.size(); ++i) {
            const std::vector<size_t>& held_by = hard[cycle[i]];
            size_t next = cycle[(i + 1) % cycle.size()];
            broken = broken || std::find(held_by.begin(), held_by.end(), next) == held_by.end();
            names.push_back(waiting[cycle[i]]->name);
            text += display_name(names[i]) + " -> ";
        }
        text += display_name(names[0]);
        const char* outcome =
            broken ? "one of these goes on without the next" : "none of these can start";
        if (!reported_.count(text)) say("dependency cycle, " + std::string(outcome) + ": " + text);
        reported_[text] = true;
        for (size_t node : cycle) {
            waiting[node]->cycle.made() = names;
            on_one.insert(waiting[node]);
        }
    };
    for (const std::vector<size_t>& cycle : find_cycles(hard)) {
        name(cycle);
        for (size_t node : cycle)
            all[node].clear(); // their weak ties break nothing
    }
    if (any_weak)
        for (const std::vector<size_t>& cycle : find_cycles(all))
            name(cycle);
    std::erase_if(reported_, [](const auto& each) { return !each.second; });
    for (auto& [name, each] : services) {
        bool is_on = on_one.count(&each) != 0;
        if (!is_on && each.cycle.empty()) continue;
        if (!is_on) each.cycle.clear();
        changed(each);
    }
}

} // namespace muster::services
