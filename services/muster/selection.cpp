#include "services/muster/selection.h"

#include <algorithm>
#include <memory>

#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "services/muster/notation.h"
#include "services/muster/status_line.h"
#include "services/tracker/service.h"

namespace muster::command {

namespace pat = dataspace::pattern;
using services::without_capabilities;

namespace {

const Value* find(const std::vector<Value>& known, View name) {
    for (const Value& each : known)
        if (each.view().at(0) == name) return &each;
    return nullptr;
}

// Whether something of it runs, or seems to.
bool is_up(const std::vector<Value>& known, View name) {
    const Value* service = find(known, name);
    if (!service) return false;
    View word = service->view().at(1);
    return word.is_symbol("running") || word.is_symbol("starting") || word.is_symbol("complete");
}

void add_once(std::vector<Value>& all, Value value) {
    if (std::find(all.begin(), all.end(), value) == all.end()) all.push_back(std::move(value));
}

// All that depend on one of `from` (or, `forwards`, that these depend on), however indirectly.
std::vector<Value> closure(const Value& from, bool forwards,
                           const std::vector<std::pair<Value, Value>>& edges) {
    std::vector<Value> reached{from};
    for (size_t i = 0; i < reached.size(); ++i) {
        for (const auto& [depender, dependee] : edges) {
            if (reached[i] == (forwards ? depender : dependee))
                add_once(reached, forwards ? dependee : depender);
        }
    }
    reached.erase(reached.begin());
    return reached;
}

// "a, b, c" of those that are up, in order; empty if none is.
std::string names_of_those_up(const std::vector<Value>& names, const std::vector<Value>& known) {
    std::vector<std::string> words;
    for (const Value& name : names)
        if (is_up(known, name)) words.push_back(short_name(name));
    std::sort(words.begin(), words.end());
    std::string text;
    for (const std::string& word : words)
        text += (text.empty() ? "" : ", ") + word;
    return text;
}

} // namespace

Result<std::vector<Value>> known_services(Bus& bus) {
    return bus.query({"status"},
                     pat::record("service", {pat::discard(), pat::discard(), pat::discard()}));
}

std::vector<Value> services_meant(const std::string& word, const std::vector<Value>& known) {
    Value typed = *parse_service(word);
    if (find(known, typed)) return {typed};
    if (typed.view().is_record("daemon", 1)) {
        Value milestone = preserves::record("milestone", {typed.view().at(0)});
        if (find(known, milestone)) return {milestone};
    }
    std::vector<Value> fitting;
    Result<Value> wire = typed_pattern(typed);
    Result<dataspace::Pattern> pattern =
        wire ? dataspace::Pattern::parse(*wire) : Result<dataspace::Pattern>(wire.error());
    for (const Value& each : known)
        if (pattern && pattern->matches(each.view().at(0))) fitting.emplace_back(each.view().at(0));
    std::sort(fitting.begin(), fitting.end(),
              [](const Value& a, const Value& b) { return compare(a, b) < 0; });
    if (fitting.empty()) fitting.push_back(std::move(typed));
    return fitting;
}

Result<Value> real_name(Bus& bus, const Value& name) {
    auto candidates = std::make_shared<std::vector<Value>>();
    Value any = pat::discard();
    for (const Value& pattern :
         {pat::record("require-service", {any}), pat::record("run-service", {any}),
          pat::record("RequireService", {any}), pat::record("service-override", {any, any}),
          pat::record("service-state", {any, any}), pat::record("depends-on", {any, any})}) {
        // It goes on: what the bus calls a capability is forgotten with the last assertion that has
        // it, and would be another name in the next one.
        (void)Follower::start(bus, {"config"}, pattern,
                              {.appeared =
                                   [candidates, name](View each) {
                                       View service = each.at(0);
                                       if (service.may_embed() &&
                                           without_capabilities(service) == name)
                                           add_once(*candidates, Value(service));
                                   },
                               .gone = {},
                               .message = {}});
    }
    Result<> settled = bus.settle();
    if (!settled) return settled.error();
    if (candidates->empty()) return name;
    if (candidates->size() == 1) return candidates->front();
    std::string text = preserves::to_text(name) + " is the name of " +
                       std::to_string(candidates->size()) +
                       " services that differ in their capabilities only:";
    for (const Value& each : *candidates)
        text += "\n  " + text_of(each);
    return Error{text};
}

Result<std::vector<std::string>> goes_down_with(Bus& bus, const Value& name,
                                                const std::vector<Value>& known) {
    Value any = pat::discard();
    auto found = bus.query({"config"}, pat::record("depends-on", {any, any}));
    if (!found) return found.error();
    std::vector<std::pair<Value, Value>> edges;
    for (const Value& each : *found) {
        View dependee = each.view().at(1);
        if (!dependee.is_record("service-state", 1)) continue;
        edges.emplace_back(without_capabilities(each.view().at(0)),
                           without_capabilities(dependee.at(0)));
    }
    std::vector<std::string> sentences;
    std::string above = names_of_those_up(closure(name, false, edges), known);
    if (!above.empty()) sentences.push_back("what depends on it stops too: " + above);
    if (name.view().is_record("milestone")) {
        std::string below = names_of_those_up(closure(name, true, edges), known);
        if (!below.empty())
            sentences.push_back("what it stands for stops too, unless something else needs it: " +
                                below);
    }
    return sentences;
}

} // namespace muster::command
