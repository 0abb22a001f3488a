#include "services/system/debts.h"

#include <map>

#include "init/dataspace/dataspace.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "services/system/log_printer.h"

namespace muster::services {

using dataspace::Account;
using dataspace::CapRef;
using dataspace::Facet;
using dataspace::Handle;
using dataspace::Turn;
using preserves::Value;
using preserves::View;
namespace pat = dataspace::pattern;

namespace {

constexpr double shortest_interval = 0.1; // seconds
constexpr double longest_interval = 1e9;

// Runs `body` in turns of a facet, again and again, until it is stopped.
class Periodic final : public Counted {
  public:
    Periodic(EventLoop& loop, uint64_t interval, dataspace::TurnAction body)
        : loop_(loop), interval_(interval), body_(std::move(body)) {}

    // In the current facet, which is kept alive; at once for the first time.
    static void start(Turn& turn, EventLoop& loop, uint64_t interval, dataspace::TurnAction body) {
        auto self = make_ref<Periodic>(loop, interval, std::move(body));
        self->facet_ = Ref<Facet>(&turn.current());
        self->keep_ = dataspace::KeepAlive(self->facet_);
        turn.on_stop([self](Turn&) {
            self->timer_.cancel();
            self->keep_ = {};
            self->facet_ = nullptr;
        });
        self->beat(turn);
    }

  private:
    void beat(Turn& turn) {
        body_(turn);
        timer_ = loop_.after(interval_, [self = Ref<Periodic>(this), &engine = turn.engine()] {
            engine.external(self->facet_, [self](Turn& next) { self->beat(next); });
        });
    }

    EventLoop& loop_;
    uint64_t interval_;
    dataspace::TurnAction body_;
    Ref<Facet> facet_;
    dataspace::KeepAlive keep_;
    Timer timer_;
};

// What is asserted about debts at the moment, by account and amount.
class DebtBoard final : public Counted {
  public:
    explicit DebtBoard(CapRef config) : config_(std::move(config)) {}

    void update(Turn& turn) {
        std::map<std::pair<std::string, int64_t>, Handle> now;
        for (const Account* account : turn.engine().accounts().all()) {
            std::pair key(account->name(), account->debt());
            if (key.second == 0 || now.count(key)) continue;
            auto before = asserted_.find(key);
            if (before != asserted_.end()) {
                now[key] = before->second;
                asserted_.erase(before);
                continue;
            }
            now[key] = turn.assert_(
                config_, preserves::record("debt", {preserves::string(account->name()),
                                                    preserves::integer(account->debt()),
                                                    preserves::integer(account->limit())}));
        }
        for (const auto& [key, handle] : asserted_)
            turn.retract(handle);
        asserted_ = std::move(now);
    }

  private:
    CapRef config_;
    std::map<std::pair<std::string, int64_t>, Handle> asserted_;
};

void report(Turn& turn, const CapRef& log) {
    for (const Account* account : turn.engine().accounts().all())
        say(turn, log, "debt of " + account->name() + ": " + std::to_string(account->debt()));
}

// `<Observe P #:observer>` where P is `<debt …>`, or that in one bind.
Value interest(bool bound) {
    Value type = pat::record("rec", {pat::literal(preserves::symbol("debt"))});
    Value wanted = pat::record("group", {type});
    return pat::record("Observe", {bound ? pat::record("bind", {wanted}) : wanted});
}

} // namespace

void publish_debts(Turn& turn, EventLoop& loop, const CapRef& config) {
    for (bool bound : {false, true})
        during(turn, config, interest(bound), [&loop, config](Turn& inner, View) {
            auto board = make_ref<DebtBoard>(config);
            Periodic::start(inner, loop, second, [board](Turn& t) { board->update(t); });
        });
}

void serve_debt_reporters(Turn& turn, EventLoop& loop, const CapRef& config, const CapRef& log) {
    Value pattern =
        pat::record("run-service", {pat::bind(pat::record("debt-reporter", {pat::discard()}))});
    during(turn, config, pattern, [&loop, config, log](Turn& inner, View seen) {
        View interval = seen.at(0).at(0);
        double seconds = interval.as_number().value_or(0);
        if (auto whole = interval.as_int()) seconds = static_cast<double>(*whole);
        auto state = [&](std::string_view word) {
            inner.assert_(
                config, preserves::record("service-state", {seen.at(0), preserves::symbol(word)}));
        };
        if (!(seconds >= shortest_interval && seconds <= longest_interval)) {
            say(inner, log, "debt-reporter: the interval must be 0.1 seconds or more");
            state("failed");
            return;
        }
        state("started");
        state("ready");
        auto nanoseconds = static_cast<uint64_t>(seconds * static_cast<double>(second));
        Periodic::start(inner, loop, nanoseconds, [log](Turn& t) { report(t, log); });
    });
}

} // namespace muster::services
