#include "services/muster/assertions.h"

#include <algorithm>
#include <cstdio>

#include "init/dataspace/pattern.h"
#include "services/muster/failed.h"
#include "services/muster/json.h"
#include "services/muster/notation.h"
#include "services/muster/output.h"
#include "services/muster/screen.h"

namespace muster::command {

namespace pat = dataspace::pattern;
using preserves::View;

namespace {

// Those that are looked at when none is named. `$status` repeats the others.
const std::vector<std::string> usual_spaces{"config", "machine", "log"};

// The first of `spaces` that this bus does not let us look at; empty if there is none.
std::string hidden_space(const Bus& bus, const std::vector<std::string>& spaces) {
    for (const std::string& space : spaces)
        if (!bus.capability(space)) return space;
    return "";
}

int hidden(const std::string& space) {
    return denied("look into " + space + "; everybody may look --in status");
}

std::vector<std::string> spaces_of(const Arguments& arguments, const Value& pattern) {
    if (!arguments.spaces.empty()) return arguments.spaces;
    std::vector<std::string> spaces = usual_spaces;
    // What only `$status` has.
    if (pattern.view().at(0).at(0).is_symbol("service")) spaces.push_back("status");
    return spaces;
}

Ref<protocol::Reference> target_of(Bus& bus, const Arguments& arguments) {
    if (arguments.spaces.size() > 1) wrong(arguments.command + " takes one --in");
    if (!bus.is_root()) return {};
    return arguments.spaces.empty() ? bus.config() : bus.capability(arguments.spaces[0]);
}

} // namespace

void print(const char* before, View value) {
    put_line(before + text_of(value));
    flush_output();
}

// Who owes for work that is queued. The other side asserts it because we look, so it takes a
// while until it is there.
int debts(Bus& bus, bool as_json) {
    if (!bus.is_root()) return denied("see debts");
    std::vector<Value> found;
    Value pattern = pat::record("debt", {pat::discard(), pat::discard(), pat::discard()});
    auto follower = Follower::start(
        bus, {"config"}, pattern,
        {.appeared = [&](View debt) { found.push_back(Value(debt)); }, .gone = {}, .message = {}});
    Result<> settled = bus.settle();
    if (settled) settled = bus.settle();
    follower->stop(bus);
    if (!settled) return failed(settled.error());
    auto events_of = [](const Value& debt) { return debt.view().at(1).as_int().value_or(0); };
    std::sort(found.begin(), found.end(),
              [&](const Value& a, const Value& b) { return events_of(a) > events_of(b); });
    Json json;
    json.array();
    for (const Value& debt : found) {
        std::string name(debt.view().at(0).as_string().value_or("?"));
        int64_t limit = debt.view().at(2).as_int().value_or(0);
        bool held_back = events_of(debt) > limit;
        json.object().pair("connection", name).pair("events", events_of(debt));
        json.pair("limit", limit).key("held_back").boolean(held_back).end();
        if (as_json) continue;
        put_line(padded(name, 32) + " " + right(std::to_string(events_of(debt)), 8) +
                 (held_back ? "   held back" : ""));
    }
    if (as_json) put_line(json.end().text());
    return 0;
}

int list(Bus& bus, const Arguments& arguments) {
    Value pattern = pattern_argument(arguments);
    std::vector<std::string> spaces = spaces_of(arguments, pattern);
    if (std::string space = hidden_space(bus, spaces); !space.empty()) return hidden(space);
    auto found = bus.query(spaces, pattern);
    if (!found) return failed(found.error());
    std::vector<std::string> lines;
    for (const Value& each : *found)
        lines.push_back(text_of(each));
    std::sort(lines.begin(), lines.end());
    for (const std::string& line : lines)
        put_line(line);
    return 0;
}

int watch_on(Bus& bus, const Arguments& arguments, Watching& watching) {
    Value pattern = pattern_argument(arguments);
    std::vector<std::string> spaces = spaces_of(arguments, pattern);
    if (std::string space = hidden_space(bus, spaces); !space.empty()) return hidden(space);
    return failed(watching.follow(bus, spaces, pattern));
}

int watch(Bus& bus, const Arguments& arguments) {
    Watching watching(print);
    return watch_on(bus, arguments, watching);
}

int wait(Bus& bus, const Arguments& arguments) {
    bool seen = false;
    Value pattern = pattern_argument(arguments);
    std::vector<std::string> spaces = spaces_of(arguments, pattern);
    if (std::string space = hidden_space(bus, spaces); !space.empty()) return hidden(space);
    auto follower = Follower::start(bus, spaces, pattern,
                                    {.appeared =
                                         [&](View value) {
                                             if (!seen) print("", value);
                                             seen = true;
                                         },
                                     .gone = {},
                                     .message = {}});
    Result<bool> done = bus.run_until([&] { return seen; }, arguments.deadline);
    if (!done) return failed(done.error());
    if (*done) return 0;
    std::fprintf(stderr, "muster: nothing matched %s in time\n", arguments.words[0].c_str());
    return 1;
}

int assert_values(Bus& bus, const Arguments& arguments) {
    std::vector<Value> values = value_arguments(arguments);
    Ref<protocol::Reference> target = target_of(bus, arguments);
    if (!target) return denied("assert something");
    bus.client().begin();
    for (const Value& value : values)
        bus.client().assert_(target, value);
    bus.client().commit();
    Result<bool> done = bus.run_until([] { return false; });
    return done ? 0 : failed(done.error());
}

int send(Bus& bus, const Arguments& arguments) {
    std::vector<Value> values = value_arguments(arguments);
    Ref<protocol::Reference> target = target_of(bus, arguments);
    if (!target) return denied("send something");
    for (const Value& value : values)
        bus.client().message(target, value);
    Result<> settled = bus.settle();
    return settled ? 0 : failed(settled.error());
}

} // namespace muster::command
