#include "services/muster/world.h"

#include <algorithm>

#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "services/muster/bus.h"
#include "services/muster/notation.h"
#include "services/muster/screen.h"
#include "services/muster/selection.h"
#include "services/muster/status_line.h"
#include "services/tracker/service.h"

namespace muster::command {

namespace pat = dataspace::pattern;

namespace {

services::Rise rise_of(View record) {
    auto time = [&](size_t i) { return static_cast<uint64_t>(record.at(i).as_int().value_or(0)); };
    if (!record.is_record("rise", 3)) return {};
    return {.demanded = time(0), .starting = time(1), .ready = time(2)};
}

// What services a dependency is about, if it is about one.
Value service_of(View dependee) {
    if (dependee.is_record("service-state", 2)) return Value(dependee.at(0));
    if (dependee.is_record("present", 1)) return services::service_of_pattern(dependee.at(0));
    return {};
}

// How many letters must change to make one of the other.
size_t distance(std::string_view a, std::string_view b) {
    std::vector<size_t> row(b.size() + 1);
    for (size_t j = 0; j <= b.size(); ++j)
        row[j] = j;
    for (size_t i = 1; i <= a.size(); ++i) {
        size_t diagonal = std::exchange(row[0], i);
        for (size_t j = 1; j <= b.size(); ++j) {
            size_t changed = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = std::min({changed, row[j] + 1, row[j - 1] + 1});
        }
    }
    return row[b.size()];
}

} // namespace

std::string Unit::word() const {
    auto word = record.view().at(1).as_symbol();
    return word ? std::string(*word) : preserves::to_text(record.view().at(1));
}

std::string Unit::text(std::string_view key) const {
    View value = facts().get(key);
    if (!value.valid()) return "";
    if (auto text = value.as_text()) return printable(*text);
    if (auto bytes = value.as_bytes())
        return printable({reinterpret_cast<const char*>(bytes->data()), bytes->size()});
    return preserves::to_text(value);
}

services::Rise Unit::rise() const { return rise_of(facts().get("rise")); }

services::Rise Unit::first_rise() const {
    View first = facts().get("first-rise");
    return first.valid() ? rise_of(first) : rise();
}

World::World(const std::vector<Value>& records) {
    for (const Value& each : records) {
        if (each.view().is_record("service", 3)) {
            records_.push_back(each);
            units_.push_back(Unit{each, printable(short_name(each.view().at(0))), {}, {}});
        } else if (each.view().is_record("config-error", 4)) {
            config_errors_.push_back(each);
        } else if (each.view().is_record("boot-mode", 1)) {
            container_ = each.view().at(0).is_symbol("container");
        }
    }
    auto place = [](const Value& error) {
        View view = error.view();
        return std::tuple(view.at(0).as_string(), view.at(1).as_int(), view.at(2).as_int());
    };
    std::sort(config_errors_.begin(), config_errors_.end(),
              [&](const Value& a, const Value& b) { return place(a) < place(b); });
    std::sort(units_.begin(), units_.end(), [](const Unit& a, const Unit& b) {
        return std::pair(a.shown[0] == '<', std::string_view(a.shown)) <
               std::pair(b.shown[0] == '<', std::string_view(b.shown));
    });
    for (size_t i = 0; i < units_.size(); ++i)
        by_name_.emplace(Value(units_[i].name()), i);
    for (const Value& each : records) {
        if (!each.view().is_record("depends-on", 2)) continue;
        size_t from = find(each.view().at(0));
        if (from == nowhere) continue;
        Value what(each.view().at(1));
        Value service = service_of(what);
        size_t to = service.valid() ? find(service) : nowhere;
        bool met = true;
        View waiting = units_[from].facts().get("waiting-for");
        if (to != nowhere && what.view().is_record("service-state", 2)) {
            View state = what.view().at(1);
            const Unit& other = units_[to];
            met = other.up() ? !state.is_symbol("failed") &&
                                   (!state.is_symbol("complete") || other.is("complete")) &&
                                   (!state.is_symbol("ready") || other.is("running"))
                             : state.is_symbol("started") && other.is("starting");
        } else if (waiting.valid()) {
            for (View missing : waiting.items())
                met = met && !(missing == what.view());
        }
        edges_.push_back(Edge{from, to, std::move(what), met});
    }
    std::sort(edges_.begin(), edges_.end(), [&](const Edge& a, const Edge& b) {
        auto key = [](const Edge& e) { return std::tuple(e.from, e.to); };
        if (key(a) != key(b)) return key(a) < key(b);
        return compare(a.what, b.what) < 0;
    });
    for (size_t i = 0; i < edges_.size(); ++i) {
        units_[edges_[i].from].needs.push_back(i);
        if (edges_[i].to != nowhere) units_[edges_[i].to].needed_by.push_back(i);
    }
}

Result<World> World::load(Bus& bus) {
    std::vector<Value> all;
    Value any = pat::discard();
    for (const Value& pattern :
         {pat::record("service", {any, any, any}), pat::record("depends-on", {any, any}),
          pat::record("config-error", {any, any, any, any}), pat::record("boot-mode", {any})}) {
        auto found = bus.query({"status"}, pattern);
        if (!found) return found.error();
        all.insert(all.end(), found->begin(), found->end());
    }
    return World(all);
}

size_t World::find(View name) const {
    auto found = by_name_.find(name);
    return found == by_name_.end() ? nowhere : found->second;
}

std::vector<size_t> World::meant(const std::string& word) const {
    std::vector<size_t> all;
    for (const Value& name : services_meant(word, records_))
        if (size_t unit = find(name); unit != nowhere) all.push_back(unit);
    return all;
}

std::vector<std::string> World::similar(const std::string& word) const {
    std::vector<std::pair<size_t, std::string>> candidates;
    for (const Unit& each : units_) {
        std::string plain = each.shown;
        if (each.is_milestone() && each.name().at(0).as_text())
            plain = std::string(*each.name().at(0).as_text());
        // `web` is shown as <daemon web> is, which was looked for.
        if (plain == word || plain.size() > 64 || word.size() > 64) continue;
        size_t away = distance(word, plain);
        bool within = word.size() > 2 && plain.find(word) != std::string::npos;
        if (within || away <= 1 + word.size() / 4)
            candidates.emplace_back(within ? 1 : away, each.shown);
    }
    std::sort(candidates.begin(), candidates.end());
    std::vector<std::string> names;
    for (const auto& [away, name] : candidates)
        if (names.size() < 3) names.push_back(name);
    return names;
}

std::vector<std::string> World::config_paths() const {
    std::vector<std::string> paths;
    for (const Unit& each : units_)
        if (auto path = each.name().is_record("config-watcher", 1) ? each.name().at(0).as_string()
                                                                   : std::nullopt)
            paths.emplace_back(*path);
    if (paths.empty()) paths.emplace_back("/etc/muster");
    return paths;
}

std::vector<size_t> World::essential_needs(size_t unit) const {
    std::vector<size_t> targets;
    for (size_t edge : units_[unit].needs)
        if (edges_[edge].to != nowhere) targets.push_back(edges_[edge].to);
    // All that can be reached from one of them by at least one step.
    std::vector<bool> beyond(units_.size());
    std::vector<size_t> open = targets;
    std::vector<bool> seen(units_.size());
    while (!open.empty()) {
        size_t each = open.back();
        open.pop_back();
        if (seen[each] || each == unit) continue;
        seen[each] = true;
        for (size_t edge : units_[each].needs) {
            size_t to = edges_[edge].to;
            if (to == nowhere) continue;
            beyond[to] = true;
            open.push_back(to);
        }
    }
    std::vector<size_t> essential;
    for (size_t edge : units_[unit].needs) {
        size_t to = edges_[edge].to;
        if (to == nowhere || to == unit) continue;
        bool again = !essential.empty() && edges_[essential.back()].to == to;
        if (!again && !beyond[to]) essential.push_back(edge);
    }
    return essential;
}

std::string dependee_text(View dependee) {
    if (dependee.is_record("service-state", 2))
        return printable(short_name(dependee.at(0)) + " " + preserves::to_text(dependee.at(1)));
    if (dependee.is_record("present", 1)) return printable(pattern_text(dependee.at(0)));
    return printable(preserves::to_text(dependee));
}

} // namespace muster::command
