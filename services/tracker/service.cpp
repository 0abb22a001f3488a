#include "services/tracker/service.h"

#include "init/dataspace/pattern.h"
#include "init/preserves/encoder.h"
#include "init/preserves/text_writer.h"

namespace muster::services {

using preserves::Encoder;
using preserves::Kind;

bool Service::has_state(std::string_view state) const {
    for (const Value& each : states)
        if (each.view().is_symbol(state)) return true;
    return false;
}

bool Service::active() const {
    if (!is_daemon()) return false;
    return has_state("started") || has_state("ready") ||
           (detail.valid() && detail.view().get("pid").valid());
}

bool Service::forgettable() const {
    return !needed && !defined && !disabled && !up && !down && dependencies.empty() &&
           states.empty() && !detail.valid() && demands == 0 && idle_after == 0 &&
           providers.empty() && provides.empty();
}

std::string_view state_word(const Service& service, bool obstacles, bool going_down) {
    View phase = service.detail.valid() ? service.detail.view().get("phase") : View();
    bool wanted = (service.needed || service.going_on()) && service.allowed() && !going_down;
    if (phase.is_symbol("stopping")) return "stopping";
    if (!wanted || obstacles) {
        if (service.active()) return "stopping";
        // Somebody runs it without asking whether it is needed, as `dataspace --config` does.
        if (!service.is_daemon() && !service.is_milestone() && service.has_state("ready"))
            return "running";
        if (wanted) return "waiting";
        // A one-shot that did its work stays complete until somebody undoes it.
        return service.has_state("complete") && !service.down ? "complete" : "stopped";
    }
    if (service.has_state("complete")) return "complete";
    if (service.has_state("ready")) return "running";
    if (service.has_state("failed") || phase.is_symbol("failed") || phase.is_symbol("backoff"))
        return "failed";
    if (service.has_state("started") || phase.is_symbol("starting")) return "starting";
    return service.is_daemon() && service.defined ? "starting" : "waiting";
}

namespace {

// What the tracker says; nobody else can in its place.
bool is_own_key(std::string_view key) {
    for (std::string_view own :
         {"waiting-for", "waiting-for-more", "cycle", "override", "needed", "undefined",
          "unprovided", "disabled", "idle", "provider", "demands", "since", "rise", "first-rise"})
        if (key == own) return true;
    return false;
}

} // namespace

Value status_record(const Service& service, std::string_view word, bool waits) {
    Encoder out;
    out.begin_record();
    out.symbol("service");
    out.value(without_capabilities(service.name));
    out.symbol(word);
    out.begin_dictionary();
    if (waits) {
        out.symbol("waiting-for");
        out.begin_sequence();
        size_t named = 0;
        for (const Value& each : service.missing) {
            if (named == max_waiting_named) break;
            out.value(without_capabilities(asked_for(each)));
            ++named;
        }
        out.end();
        if (service.missing.size() > named) {
            out.symbol("waiting-for-more");
            out.integer(static_cast<int64_t>(service.missing.size() - named));
        }
    }
    if (!service.cycle.empty()) {
        out.symbol("cycle");
        out.begin_sequence();
        for (const Value& each : service.cycle)
            out.value(without_capabilities(each));
        out.end();
    }
    if (service.up || service.down) {
        out.symbol("override");
        out.symbol(service.up ? "up" : "down");
    }
    if (service.disabled) {
        out.symbol("disabled");
        out.boolean(true);
    }
    if (service.going_on()) {
        out.symbol("idle");
        out.boolean(true);
    }
    if (service.provider.valid()) {
        out.symbol("provider");
        out.value(without_capabilities(service.provider));
    }
    if (service.needed) {
        out.symbol("needed");
        out.boolean(true);
        if (service.is_daemon() && !service.defined && !service.is_provided()) {
            out.symbol("undefined");
            out.boolean(true);
        } else if (service.run != 0 && service.states.empty() && !service.is_daemon()) {
            out.symbol("unprovided"); // it is to run, and nobody says anything of it
            out.boolean(true);
        }
    }
    if (service.demands > 0) {
        out.symbol("demands");
        out.integer(static_cast<int64_t>(service.demands));
    }
    service.times.encode(out);
    if (service.detail.valid()) {
        View key;
        for (View item : service.detail.view().items()) {
            if (!key.valid()) {
                key = item;
                continue;
            }
            if (key.is(Kind::symbol) && !is_own_key(*key.as_symbol())) {
                out.value(key);
                out.value(without_capabilities(item));
            }
            key = View();
        }
    }
    out.end();
    out.end();
    Result<Value> record = out.finish();
    return record ? *std::move(record) : Value();
}

namespace {

// Bounded by the depth of values.
void strip(View value, Encoder& out) {
    switch (value.kind()) {
    case Kind::embedded:
        out.symbol("capability");
        return;
    case Kind::record:
        out.begin_record();
        strip(value.label(), out);
        break;
    case Kind::sequence:
        out.begin_sequence();
        break;
    case Kind::set:
        out.begin_set();
        break;
    case Kind::dictionary:
        out.begin_dictionary();
        break;
    default:
        out.value(value);
        return;
    }
    for (View item : value.items())
        strip(item, out);
    out.end();
}

void strip_binds(View pattern, Encoder& out) {
    while (pattern.is_record("bind", 1))
        pattern = pattern.at(0);
    if (!pattern.is_record("group", 2) || !pattern.at(1).is(Kind::dictionary)) {
        out.value(pattern);
        return;
    }
    out.begin_record();
    out.symbol("group");
    out.value(pattern.at(0));
    out.begin_dictionary();
    bool key = true;
    for (View item : pattern.at(1).items()) {
        if (key)
            out.value(item);
        else
            strip_binds(item, out);
        key = !key;
    }
    out.end();
    out.end();
}

// The constant at position 0 of a pattern for records with this label.
Value first_field_of(View pattern, std::string_view label) {
    while (pattern.is_record("bind", 1))
        pattern = pattern.at(0);
    if (!pattern.is_record("group", 2)) return {};
    View type = pattern.at(0);
    if (!type.is_record("rec", 1) || !type.at(0).is_symbol(label)) return {};
    Value zero = preserves::integer(0);
    return dataspace::pattern::constant_value(pattern.at(1).get(zero.view()));
}

} // namespace

Value without_capabilities(View value) {
    if (!value.may_embed()) return Value(value);
    Encoder out;
    strip(value, out);
    // Two entries of a set may have become the same: then only the kind of value remains.
    Result<Value> result = out.finish();
    return result ? *std::move(result) : preserves::symbol("capabilities");
}

Value bond_key(Bond bond, View dependee) {
    switch (bond) {
    case Bond::needs:
        break;
    case Bond::wants:
        return preserves::record("wants", {dependee});
    case Bond::after:
        return preserves::record("after", {dependee});
    case Bond::gives_way:
        return preserves::record("gives-way-to", {dependee});
    case Bond::displaces:
        return preserves::record("displaces", {dependee});
    }
    return Value(dependee);
}

View asked_for(View key) {
    for (std::string_view label : {"wants", "after", "gives-way-to", "displaces"})
        if (key.is_record(label, 1) && key.count() == 1) return key.at(0);
    return key;
}

uint64_t idle_time(View seconds) {
    constexpr double longest = 1e9;
    double number = seconds.as_number().value_or(0);
    if (auto whole = seconds.as_int()) number = static_cast<double>(*whole);
    return number > 0 && number <= longest ? static_cast<uint64_t>(number * 1e9) : 0;
}

Value strip_binds(View pattern) {
    Encoder out;
    strip_binds(pattern, out);
    Result<Value> result = out.finish();
    return result ? *std::move(result) : Value();
}

Value pattern_of_condition(View condition) {
    if (!condition.is_record("present", 1) && !condition.is_record("message", 1)) return {};
    Value pattern = strip_binds(condition.at(0));
    return pattern.valid() && dataspace::Pattern::parse(pattern) ? pattern : Value();
}

std::string display_name(View service) {
    if (service.is_record("daemon", 1) && service.count() == 1) {
        View id = service.at(0);
        if (id.is(Kind::symbol)) return preserves::to_text(id);
    }
    return preserves::to_text(service);
}

Value service_of_interest(View pattern) { return first_field_of(pattern, "ServiceRunning"); }

Value service_of_pattern(View pattern) {
    Value running = service_of_interest(pattern);
    return running.valid() ? running : first_field_of(pattern, "service-state");
}

} // namespace muster::services
