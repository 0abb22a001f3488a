#include "services/system/stop_report.h"

#include <algorithm>

#include "init/base/seconds_text.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/pattern.h"
#include "services/system/log_printer.h"
#include "services/tracker/service.h"

namespace muster::services {

using dataspace::Turn;
namespace pat = dataspace::pattern;

StopReport::StopReport(EventLoop& loop, dataspace::Engine& engine, Ref<dataspace::Facet> facet,
                       dataspace::CapRef config, dataspace::CapRef log,
                       std::function<void(const Value&)> give_up, Timing timing)
    : loop_(loop), engine_(engine), facet_(std::move(facet)), config_(std::move(config)),
      log_(std::move(log)), give_up_(std::move(give_up)), timing_(timing) {}

void StopReport::begin() {
    engine_.external(facet_, [this](Turn& turn) { observe_all(turn); });
    arm();
}

void StopReport::observe_all(Turn& turn) {
    Value any_daemon = pat::bind(pat::record("daemon", {pat::discard()}));
    observe(turn, config_, pat::record("run-service", {any_daemon}), {},
            [this](Turn&, View captures) {
                auto found = services_.find(Value(captures.at(0)));
                if (found == services_.end() || found->second.states == 0) return;
                Each& each = found->second;
                each.since = monotonic_now();
                each.next_notice = each.since + timing_.first_notice;
            });
    observe(
        turn, config_, pat::record("service-state", {any_daemon, pat::bind()}),
        [this](Turn&, View captures) { ++services_[Value(captures.at(0))].states; },
        [this](Turn&, View captures) {
            Each& each = services_[Value(captures.at(0))];
            if (each.states == 0 || --each.states > 0 || each.since == 0 || each.given_up) return;
            each.took = monotonic_now() - each.since;
        });
    observe(turn, config_, pat::record("daemon-status", {pat::bind(), pat::bind()}),
            [this](Turn&, View captures) {
                Each& each = services_[preserves::record("daemon", {captures.at(0)})];
                if (auto last = captures.at(1).get("last").as_string()) each.last = *last;
                // It asked for more, or commands after its end have a time of their own.
                auto limit = captures.at(1).get("stopLimitMs").as_int();
                if (limit && *limit > 0)
                    each.limit = std::max(each.limit, static_cast<uint64_t>(*limit) * millisecond);
            },
            {});
    observe(turn, config_, pat::record("daemon", {pat::bind(), pat::bind()}),
            [this](Turn&, View captures) {
                View limit = captures.at(1).get("stopTimeout");
                if (!limit.valid()) return;
                double value = limit.as_int() ? static_cast<double>(*limit.as_int())
                                              : limit.as_number().value_or(10);
                services_[preserves::record("daemon", {captures.at(0)})].limit =
                    static_cast<uint64_t>(std::clamp(value, 0.0, 86400.0) * 1e9);
            },
            {});
}

void StopReport::arm() {
    uint64_t step = std::min({timing_.first_notice, timing_.after_kill, 1 * second});
    timer_ = loop_.after(step, [this] { tick(); });
}

void StopReport::tick() {
    uint64_t now = monotonic_now();
    std::vector<std::string> lines;
    std::vector<Value> hopeless;
    uint64_t left = 0;
    for (auto& [name, each] : services_) {
        if (each.since == 0 || each.took != 0 || each.states == 0 || each.given_up) continue;
        uint64_t so_far = now - each.since;
        if (so_far >= each.limit + timing_.after_kill) {
            each.given_up = true;
            hopeless.push_back(name);
            lines.push_back(display_name(name) + " did not stop in " + seconds_text(so_far) +
                            ", not even killed; going on without it");
            continue;
        }
        left = std::max(left, each.limit + timing_.after_kill - so_far);
        if (now >= each.next_notice) {
            each.next_notice = now + timing_.next_notice;
            lines.push_back("waiting for " + display_name(name) + " to stop, " +
                            seconds_text(so_far) + " of " + seconds_text(each.limit));
        }
    }
    if (left > 0 && more_time_) more_time_(left);
    say_later(std::move(lines));
    for (const Value& name : hopeless)
        give_up_(name);
    if (!finished_) arm();
}

void StopReport::finish() {
    if (std::exchange(finished_, true)) return;
    timer_.cancel();
    tell();
}

void StopReport::tell() {
    uint64_t now = monotonic_now();
    std::vector<std::pair<uint64_t, std::string>> slow;
    for (auto& [name, each] : services_) {
        if (each.since == 0 || each.given_up || each.told) continue;
        bool stopped = each.states == 0;
        if (!stopped && !finished_) continue;
        each.told = true;
        uint64_t took = stopped ? each.took : now - each.since;
        if (took < timing_.slow) continue;
        std::string line = display_name(name);
        if (stopped)
            line += " was slow to stop, " + seconds_text(took) + ": " +
                    (each.last.empty() ? "it is not known how it ended" : each.last);
        else
            line += " has not stopped in " + seconds_text(took) + "; nobody waits any longer";
        slow.emplace_back(took, std::move(line));
    }
    std::sort(slow.begin(), slow.end(), std::greater<>());
    std::vector<std::string> lines;
    for (auto& [took, line] : slow)
        lines.push_back(std::move(line));
    say_later(std::move(lines));
}

void StopReport::say_later(std::vector<std::string> lines) {
    if (lines.empty()) return;
    engine_.external(facet_, [log = log_, lines = std::move(lines)](Turn& turn) {
        for (const std::string& line : lines)
            say(turn, log, line);
    });
}

} // namespace muster::services
