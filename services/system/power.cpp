#include "services/system/power.h"

#include <cstdio>

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
    : context_(std::move(context)), facet_(std::move(facet)) {}

CapRef Power::capability(Turn& turn) { return turn.make_cap(make_ref<Switch>(*this)); }

void Power::log(std::string line) {
    context_.engine.external(
        facet_, [log = context_.log, line = std::move(line)](Turn& turn) { say(turn, log, line); });
}

void Power::command(Turn& turn, View request) {
    auto word = request.at(0).as_symbol();
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

void Power::stop_by_itself() {
    if (std::exchange(stopping_, true)) return;
    context_.tracker.stop_all(context_.engine, [this] { context_.loop.stop(); });
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
            if (std::exchange(stopping_, true)) break;
            context_.tracker.stop_all(context_.engine, [this] {
                Result<> sent = context_.link.services_stopped();
                if (!sent) log(sent.error().message);
            });
            break;
        case Kind::refused:
            log("init refuses: " + std::string(record.payload.refused.reason));
            break;
        default:
            break; // kept descriptors: nothing is adopted yet; signals: nothing to reload
        }
    }
}

} // namespace muster::services
