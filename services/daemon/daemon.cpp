#include "services/daemon/daemon.h"

#include <algorithm>

#include "init/preserves/encoder.h"
#include "init/preserves/text_writer.h"

namespace muster::services {

namespace {

using Phase = Instance::Phase;

// Which of several instances people should hear about first.
int weight(const Instance& instance) {
    switch (instance.phase()) {
    case Phase::failed:
        return 7;
    case Phase::backoff:
        return 6;
    case Phase::ending:
        return 5;
    case Phase::stopping:
        return 4;
    case Phase::idle:
        return 3;
    case Phase::starting:
        return 2;
    case Phase::running:
        return 1;
    case Phase::complete:
        return 0;
    }
    return 0;
}

std::string_view phase_name(const Instance& instance, bool declared_ready) {
    switch (instance.phase()) {
    case Phase::idle:
        return "starting";
    case Phase::starting:
        return declared_ready ? "running" : "starting";
    case Phase::running:
        return "running";
    case Phase::ending:
    case Phase::backoff:
        return "backoff";
    case Phase::stopping:
        return "stopping";
    case Phase::complete:
        return "complete";
    case Phase::failed:
        return "failed";
    }
    return "failed";
}

} // namespace

Daemon::Daemon(std::shared_ptr<const Context> context, dataspace::Engine& engine, Value id,
               TurnAction on_gone)
    : context_(std::move(context)), engine_(engine), id_(std::move(id)),
      service_(preserves::record("daemon", {id_})), name_(preserves::to_text(service_)),
      on_gone_(std::move(on_gone)) {}

void Daemon::attach(Ref<Facet> facet) {
    facet_ = std::move(facet);
    keep_ = dataspace::KeepAlive(facet_);
}

// --- what is wanted ---

void Daemon::run(Turn& turn, const std::vector<Value>& specs) {
    wanted_ = true;
    confirm(turn, specs);
    if (context_->ending) return changed(turn); // nothing is replaced any more
    std::vector<Ref<Instance>> before = instances_;
    bool unconfirmed = false;
    for (const Ref<Instance>& instance : before) {
        if (instance->retired() ||
            std::find(specs.begin(), specs.end(), instance->spec()) != specs.end())
            continue;
        if (held_)
            unconfirmed = true;
        else
            instance->retire(turn);
    }
    for (const Value& spec : specs) {
        bool there = std::any_of(instances_.begin(), instances_.end(), [&](const auto& instance) {
            return !instance->retired() && instance->spec() == spec;
        });
        // What is held may be what this replaces.
        if (!there && !unconfirmed) instances_.push_back(make_ref<Instance>(*this, spec));
    }
    start_idle(turn);
    if (restart_when_wanted_) return restart(turn);
    changed(turn);
}

void Daemon::confirm(Turn& turn, const std::vector<Value>& specs) {
    std::vector<Ref<Instance>> before = instances_;
    for (const Ref<Instance>& instance : before) {
        if (!instance->unconfirmed() || instance->retired()) continue;
        auto found = std::find_if(specs.begin(), specs.end(),
                                  [&](const Value& spec) { return instance->runs(spec); });
        if (found != specs.end()) instance->confirm(turn, *found);
    }
}

void Daemon::adopt(Turn& turn, Value spec, LedgerEntry entry) {
    held_ = true;
    auto instance = make_ref<Instance>(*this, std::move(spec));
    instances_.push_back(instance);
    instance->adopt(turn, std::move(entry));
}

void Daemon::stop(Turn& turn) {
    Ref<Daemon> self(this);
    wanted_ = restarting_ = restart_when_wanted_ = false;
    std::vector<Ref<Instance>> before = instances_;
    for (const Ref<Instance>& instance : before)
        instance->retire(turn);
    changed(turn);
    if (instances_.empty()) finish(turn);
}

void Daemon::restart(Turn& turn) {
    if (!wanted_) restart_when_wanted_ = held_; // as it is, only that is not known yet
    if (!wanted_ || context_->ending) return;
    restart_when_wanted_ = false;
    restarting_ = true;
    std::vector<Ref<Instance>> before = instances_;
    for (const Ref<Instance>& instance : before)
        if (!instance->retired()) instance->reset(turn);
    changed(turn);
}

void Daemon::set_declared_ready(Turn& turn, bool ready) {
    declared_ready_ = ready;
    if (ready)
        for (const Ref<Instance>& instance : instances_)
            instance->successor_ready();
    changed(turn);
}

// --- from instances ---

void Daemon::restart_others(Turn& turn, Instance& failed) {
    restarting_ = true;
    std::vector<Ref<Instance>> before = instances_;
    for (const Ref<Instance>& instance : before)
        if (instance.get() != &failed && !instance->retired()) instance->reset(turn);
}

void Daemon::instance_idle(Turn& turn) {
    start_idle(turn);
    changed(turn);
}

void Daemon::instance_gone(Turn& turn, Instance& instance) {
    Ref<Daemon> self(this);
    std::erase_if(instances_, [&](const auto& each) { return each.get() == &instance; });
    if (wanted_) {
        start_idle(turn);
        changed(turn);
    } else if (instances_.empty()) {
        finish(turn);
    }
}

// Never two of each: new ones wait until nothing is left of those that they replace.
void Daemon::start_idle(Turn& turn) {
    if (!wanted_ || context_->ending) return;
    for (const Ref<Instance>& instance : instances_) {
        if (instance->retired()) return;
        if (restarting_ && instance->phase() != Phase::idle) return;
    }
    restarting_ = false;
    std::vector<Ref<Instance>> before = instances_;
    for (const Ref<Instance>& instance : before)
        if (instance->phase() == Phase::idle && !instance->retired() && !instance->unconfirmed())
            instance->start(turn);
}

void Daemon::finish(Turn& turn) {
    if (!facet_->alive()) return;
    keep_ = dataspace::KeepAlive();
    turn.stop(*facet_);
    on_gone_(turn);
}

// --- what is asserted ---

void Daemon::changed(Turn& turn) {
    if (std::exchange(publishing_, true)) return;
    turn.before_commit([self = Ref<Daemon>(this)](Turn& last) {
        self->publishing_ = false;
        last.in(*self->facet_, [&](Turn& inner) { self->publish(inner); });
    });
}

void Daemon::publish(Turn& turn) {
    for (const Ref<Instance>& instance : instances_)
        instance->remember();
    std::string_view state = state_;
    bool ready = false;
    if (wanted_ || held_) { // else what there was stays until nothing is left, but for `ready`
        bool any_failed = false, all_complete = true, all_ready = true;
        for (const Ref<Instance>& instance : instances_) {
            bool complete = instance->phase() == Phase::complete && !instance->retired();
            if (instance->failed() && !instance->retired()) any_failed = true;
            if (!complete) all_complete = false;
            if (!complete && !instance->ready()) all_ready = false;
        }
        if (instances_.empty())
            state = {};
        else
            state = any_failed ? "failed" : all_complete ? "complete" : "started";
        ready = state == "started" && all_ready;
    }
    auto service_state = [&](std::string_view word) {
        return preserves::record("service-state", {service_, preserves::symbol(word)});
    };
    if (state != state_) {
        dataspace::Handle old = state_handle_;
        state_handle_ = state.empty() ? 0 : turn.assert_(context_->config, service_state(state));
        turn.retract(old);
        state_ = state;
    }
    if (ready && ready_handle_ == 0) {
        ready_handle_ = turn.assert_(context_->config, service_state("ready"));
    } else if (!ready && ready_handle_ != 0) {
        turn.retract(std::exchange(ready_handle_, 0));
    }
    publish_failure(turn);
    Value now = status();
    if (now == status_) return;
    status_ = now;
    status_handle_ = turn.replace(context_->config, status_handle_, status_);
}

void Daemon::publish_failure(Turn& turn) {
    const Failure* last = nullptr;
    uint64_t count = 0;
    for (const Ref<Instance>& instance : instances_) {
        const Failure* failure = instance->failure();
        if (!failure) continue;
        count += failure->count;
        if (!last || failure->time_us > last->time_us) last = failure;
    }
    // What was replaced takes its failures along, but they were the daemon's.
    if (!last || (last->time_us == failed_at_ && count == failures_)) return;
    failures_ = count;
    failed_at_ = last->time_us;
    failure_handle_ =
        turn.replace(context_->config, failure_handle_, failure_record(service_, *last));
}

// Keys in the order in which they are encoded, so that nothing has to be sorted: each start and
// stop makes one of these.
Value Daemon::status() const {
    preserves::Encoder out;
    auto text = [&](std::string_view key, const std::string& value) {
        if (value.empty()) return;
        out.symbol(key);
        out.value(text_value(value));
    };
    auto number = [&](std::string_view key, uint64_t value) {
        out.symbol(key);
        out.integer(static_cast<int64_t>(value));
    };
    auto flag = [&](std::string_view key, bool value) {
        if (!value) return;
        out.symbol(key);
        out.boolean(true);
    };
    auto phase = [&](std::string_view name) {
        out.symbol("phase");
        out.symbol(name);
    };
    out.begin_record();
    out.symbol("daemon-status");
    out.value(id_);
    out.begin_dictionary();
    if (instances_.empty()) {
        phase(wanted_ ? "undefined" : "stopping");
    } else {
        auto first =
            std::max_element(instances_.begin(), instances_.end(),
                             [](const auto& a, const auto& b) { return weight(*a) < weight(*b); });
        const Instance& instance = **first;
        uint64_t restarts = 0;
        bool stale = false;
        for (const Ref<Instance>& each : instances_) {
            restarts += each->restarts();
            stale = stale || each->stale();
        }
        if (instance.pid() != 0) number("pid", static_cast<uint64_t>(instance.pid()));
        text("last", instance.last());
        text("says", instance.status_text());
        phase(phase_name(instance, declared_ready_));
        flag("stale", stale);
        if (instance.phase() == Phase::backoff) number("delayMs", instance.delay() / millisecond);
        number("restarts", restarts);
        if (instances_.size() > 1) number("processes", instances_.size());
        flag("reloading", instance.reloading());
        if (instance.phase() == Phase::stopping)
            number("stopLimitMs", instance.stop_limit() / millisecond);
    }
    out.end();
    out.end();
    return *out.finish();
}

} // namespace muster::services
