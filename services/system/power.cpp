#include "services/system/power.h"

#include <signal.h>

#include <cstdio>
#include <cstdlib>

#include "init/preserves/text_writer.h"
#include "services/system/log_printer.h"
#include "services/tracker/service.h"

namespace muster::services {

using dataspace::CapRef;
using dataspace::Turn;
using records::Action;
using records::Kind;

class Power::Switch final : public dataspace::Entity {
  public:
    explicit Switch(Power& power) : power_(power) {}
    void on_message(Turn& turn, const Value& body) override { power_.command(turn, body); }

  private:
    Power& power_;
};

Power::Power(PowerContext context, Ref<dataspace::Facet> facet)
    : context_(std::move(context)), facet_(std::move(facet)),
      pending_(context_.config, context_.status, context_.pending_path) {}

void Power::resume(Turn& turn) {
    Result<> loaded = pending_.load(turn);
    if (!loaded) say(turn, context_.log, loaded.error().message);
}

CapRef Power::capability(Turn& turn) { return turn.make_cap(make_ref<Switch>(*this)); }

void Power::log(std::string line) {
    context_.engine.external(
        facet_, [log = context_.log, line = std::move(line)](Turn& turn) { say(turn, log, line); });
}

void Power::command(Turn& turn, View request) {
    auto word = request.at(0).as_symbol();
    if (request.is_record("system", 1) && request.at(0).is_record("shutdown")) {
        turn.in(*facet_, [&](Turn& inner) {
            Result<> set = pending_.set(inner, request.at(0));
            if (!set) say(inner, context_.log, set.error().message);
        });
        return;
    }
    if (word && *word == "cancel-shutdown") {
        turn.in(*facet_, [&](Turn& inner) {
            if (pending_.cancel(inner)) say(inner, context_.log, "the shutdown was called off");
        });
        return;
    }
    if (!request.is_record("system", 1) || !word) {
        say(turn, context_.log,
            "not a request to the system: " + preserves::to_text(without_capabilities(request)));
        return;
    }
    Result<> sent;
    if (*word == "switch-root") {
        auto root = request.at(1).as_string();
        if (!root) {
            say(turn, context_.log, "switch-root: which root?");
            return;
        }
        sent = context_.link.switch_root(*root, request.at(2).as_string().value_or(""));
    } else if (*word == "upgrade") {
        if (!context_.link.attached()) return say(turn, context_.log, "upgrade: there is no init");
        // A successor would not know who was told to stop, nor in which order.
        if (report_) return say(turn, context_.log, "upgrade: not while the system ends");
        replace();
    } else if (*word == "exit") {
        int64_t status = request.at(1).as_int().value_or(0);
        sent = context_.link.shutdown(Action::exit, static_cast<int>(status & 0xff));
    } else if (*word == "poweroff" || *word == "reboot" || *word == "halt") {
        sent = context_.link.shutdown(*word == "poweroff" ? Action::poweroff
                                      : *word == "reboot" ? Action::reboot
                                                          : Action::halt);
    } else {
        say(turn, context_.log, "unknown request to the system: " + std::string(*word));
        return;
    }
    if (!sent) say(turn, context_.log, sent.error().message);
    if (!context_.link.attached() && *word != "switch-root") stop_by_itself();
}

void Power::stop_all(std::function<void()> stopped) {
    context_.engine.external(facet_, [config = context_.config](Turn& turn) {
        turn.assert_(config, preserves::record("system-ends", {}));
        turn.message(config, preserves::record("keep-configuration", {}));
    });
    report_ = std::make_unique<StopReport>(
        context_.loop, context_.engine, facet_, context_.config, context_.log,
        [this](const Value& service) { context_.tracker.give_up(context_.engine, service); });
    report_->set_more_time([this](uint64_t left) {
        // It is asked again.
        (void)context_.link.more_time(static_cast<int64_t>(left / millisecond));
    });
    report_->begin();
    context_.tracker.stop_all(
        context_.engine,
        [this, stopped = std::move(stopped)] {
            report_->finish();
            stopped();
        },
        // While there is still somebody who writes it down.
        [this] { report_->tell(); });
}

// What is said in this round still leaves; all else our successor finds as after any other end.
void Power::replace() {
    context_.loop.next_round([this] {
        Result<> sent = context_.link.upgrade(context_.link.welcome().init_program);
        if (sent) sent = context_.link.replace();
        if (!sent) return log(sent.error().message);
        std::_Exit(0);
    });
}

void Power::stop_by_itself() {
    if (std::exchange(stopping_, true)) return;
    stop_all([this] { context_.loop.stop(); });
}

// However the end comes, also when nobody waits for its own any longer, init knows its status.
void Power::main_runs(pid_t pid) {
    Result<> sent = context_.link.main_process(pid);
    if (!sent) log(sent.error().message);
}

void Power::main_ended() {
    if (stopping_ || context_.ending) return; // as it was told to
    Result<> sent = context_.link.shutdown(Action::exit, main_->status().value_or(0));
    if (!sent) log(sent.error().message);
}

void Power::time_is_over() {
    if (report_) report_->finish();
}

// Who goes on with an end has just read the configuration, and what follows from it is still being
// drawn: without that there is no order to stop in.
void Power::on_stop(Action action) {
    if (std::exchange(stopping_, true)) return;
    if (!context_.ending) return begin_stop(action);
    before_stop_ = context_.loop.after(Adoption::quiet, [this, action] { begin_stop(action); });
}

void Power::begin_stop(Action action) {
    context_.adoption.release();
    if (context_.journal) context_.journal->set_ending();
    if (action != Action::switch_root) context_.processes.cgroups().leave();
    stop_all([this] {
        Result<> sent = context_.link.services_stopped();
        if (!sent) log(sent.error().message);
    });
}

void Power::on_records() {
    for (;;) {
        auto received = context_.link.receive();
        if (!received) {
            // Without init nothing that we do has an effect.
            std::fprintf(stderr, "dataspace: init: %s\n", received.error().message.c_str());
            context_.loop.stop();
            return;
        }
        if (!*received) return;
        const records::Record& record = (*received)->record;
        switch (static_cast<Kind>(record.kind)) {
        case Kind::status: {
            Result<> handled = context_.processes.on_status(record.payload.status);
            if (!handled) log(handled.error().message);
            break;
        }
        case Kind::stop:
            on_stop(record.payload.stop.action);
            break;
        case Kind::refused:
            log("init refuses: " + std::string(record.payload.refused.reason));
            break;
        case Kind::signal:
            if (main_)
                main_->signal(record.payload.signal.signal);
            else if (record.payload.signal.signal == SIGHUP)
                context_.engine.external(facet_, [config = context_.config](Turn& turn) {
                    turn.message(config, preserves::record("reload-configuration", {}));
                });
            break;
        default:
            break;
        }
    }
}

} // namespace muster::services
