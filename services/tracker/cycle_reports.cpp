#include "services/tracker/cycle_reports.h"

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
    std::vector<std::vector<size_t>> edges(waiting.size());
    for (size_t i = 0; i < waiting.size(); ++i)
        for (const auto& [dependee, dependency] : waiting[i]->dependencies)
            if (dependency.bond == Bond::needs && dependency.service.valid() && !dependency.met)
                if (auto found = number.find(dependency.service); found != number.end())
                    edges[i].push_back(found->second);
    for (auto& [text, there] : reported_)
        there = false;
    std::unordered_set<const Service*> on_one;
    for (const std::vector<size_t>& cycle : find_cycles(edges)) {
        std::vector<Value> names;
        std::string text;
        for (size_t node : cycle) {
            names.push_back(waiting[node]->name);
            text += display_name(waiting[node]->name) + " -> ";
        }
        text += display_name(names[0]);
        if (!reported_.count(text)) say("dependency cycle, none of these can start: " + text);
        reported_[text] = true;
        for (size_t node : cycle) {
            waiting[node]->cycle.made() = names;
            on_one.insert(waiting[node]);
        }
    }
    std::erase_if(reported_, [](const auto& each) { return !each.second; });
    for (auto& [name, each] : services) {
        bool is_on = on_one.count(&each) != 0;
        if (!is_on && each.cycle.empty()) continue;
        if (!is_on) each.cycle.clear();
        changed(each);
    }
}

} // namespace muster::services
