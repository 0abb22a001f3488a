#include "services/muster/orders.h"

#include <cstdio>

#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "services/muster/failed.h"
#include "services/muster/notation.h"
#include "services/muster/output.h"
#include "services/muster/selection.h"
#include "services/muster/status_line.h"
#include "services/muster/templates.h"
#include "services/tracker/service.h"

namespace muster::command {

using preserves::View;

namespace {

// The one service that `word` means, as `$config` names it, and what `$status` says of it.
struct Meant {
    Value status; // invalid if nobody knows it
    Value name;
};

Result<Meant> one_service(Bus& bus, const std::string& word, const std::vector<Value>& known) {
    std::vector<Value> names = services_meant(word, known);
    if (names.size() > 1) {
        std::string text = word + " could be any of these:";
        for (const Value& each : names)
            text += "\n  " + preserves::to_text(each);
        return Error{text};
    }
    Meant meant;
    for (const Value& each : known)
        if (each.view().at(0) == names[0].view()) meant.status = each;
    auto name = real_name(bus, names[0]);
    if (!name) return name.error();
    meant.name = *std::move(name);
    return meant;
}

// Why this cannot be done to the service; empty if it can.
std::string objection(const std::string& command, const Meant& meant) {
    View status = meant.status;
    bool undefined = !status.valid() || status.at(2).get("undefined").valid();
    if (undefined && command != "release")
        return "nobody defines " + preserves::to_text(services::without_capabilities(meant.name));
    // It would be shown as pending and never come.
    if (command == "stop" && meant.name.view().is_record("daemon", 1) &&
        meant.name.view().at(0).is_symbol("shutdown"))
        return "`shutdown -c` calls off what is pending";
    if (command != "restart") return {};
    if (meant.name.view().is_record("milestone"))
        return services::display_name(meant.name) + " is no process: restart what it stands for";
    bool idle = status.at(1).is_symbol("stopped") || status.at(1).is_symbol("waiting");
    return idle ? short_name(status.at(0)) + " does not run" : "";
}

} // namespace

// `start`, `stop`, `release`, `restart`: a message each, to whoever implements it.
int order(Bus& bus, const Arguments& arguments) {
    if (!bus.is_root()) return denied(arguments.command + " services");
    auto known = known_services(bus);
    if (!known) return failed(known.error());
    if (arguments.command == "restart") {
        auto ends = bus.query({"config"}, dataspace::pattern::record("system-ends", {}));
        if (!ends) return failed(ends.error());
        if (!ends->empty()) return failed(Error{"nothing is restarted while the system ends"});
    }
    int result = 0;
    for (const std::string& word : arguments.words) {
        auto meant = one_service(bus, word, *known);
        if (!meant) {
            result = failed(meant.error());
            continue;
        }
        std::string why = objection(arguments.command, *meant);
        // What is made when it is needed is not there before.
        if (!why.empty() && arguments.command == "start") {
            auto made = has_template(bus, meant->name);
            if (!made) return failed(made.error());
            if (*made) why.clear();
        }
        if (!why.empty()) {
            result = failed(Error{why});
            continue;
        }
        if (arguments.command == "stop") {
            auto more = goes_down_with(bus, Value(meant->status.view().at(0)), *known);
            if (!more) return failed(more.error());
            for (const std::string& each : *more)
                put_line(word + ": " + each);
        }
        bus.client().message(bus.config(),
                             preserves::record(arguments.command + "-service", {meant->name}));
    }
    Result<> settled = bus.settle();
    return settled ? result : failed(settled.error());
}

int power(Bus& bus, const Arguments& arguments) {
    Ref<protocol::Reference> system = bus.capability("system");
    if (!system) return denied(arguments.command + " the system");
    Value word = preserves::symbol(arguments.command);
    bus.client().message(system, preserves::record("system", {word}));
    Result<> settled = bus.settle();
    return settled ? 0 : failed(settled.error());
}

} // namespace muster::command
