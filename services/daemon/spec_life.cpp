// Fields about the life of the process: what starts it, tells that it is ready, ends it.
#include "services/daemon/listen_sockets.h"
#include "services/daemon/spec_values.h"
#include "services/log/settings.h"
#include "services/process/process.h"

namespace muster::services {

using preserves::Kind;

namespace {

constexpr int64_t highest_notify = 1023;

bool read_argv(SpecReader& r, std::string_view field, View value) {
    return r.command(field, value, r.spec.argv);
}

bool read_restart(SpecReader& r, std::string_view field, View value) {
    auto name = value.as_symbol();
    if (name == "always")
        r.spec.restart = Restart::always;
    else if (name == "on-error")
        r.spec.restart = Restart::on_error;
    else if (name == "all")
        r.spec.restart = Restart::all;
    else if (name == "never")
        r.spec.restart = Restart::never;
    else
        return r.wrong(field, value, "always, on-error, all or never");
    return true;
}

bool read_protocol(SpecReader& r, std::string_view field, View value) {
    auto name = value.as_symbol();
    if (name == "none")
        r.spec.protocol = Protocol::none;
    else if (name == "application/syndicate")
        r.spec.protocol = Protocol::packed;
    else if (name == "text/syndicate")
        r.spec.protocol = Protocol::text;
    else
        return r.wrong(field, value, "none, application/syndicate or text/syndicate");
    return true;
}

bool read_resume(SpecReader& r, std::string_view field, View value) {
    return r.boolean(field, value, r.spec.resume);
}

bool read_linger(SpecReader& r, std::string_view field, View value) {
    r.linger_given = true;
    return r.seconds(field, value, r.spec.linger);
}

bool read_ready_on_start(SpecReader& r, std::string_view field, View value) {
    r.ready_given = true;
    return r.boolean(field, value, r.spec.ready_on_start);
}

bool read_notify(SpecReader& r, std::string_view field, View value) {
    if (value.is_symbol("socket")) {
        r.rare.notify_socket = true;
        return true;
    }
    auto number = value.as_int();
    if (!number || *number < 3 || *number > highest_notify)
        return r.wrong(field, value, "a descriptor from 3 to 1023, or socket");
    r.spec.notify = static_cast<int>(*number);
    return true;
}

bool read_grant(SpecReader& r, std::string_view field, View value) {
    if (!value.is(Kind::dictionary)) return r.wrong(field, value, "a dictionary");
    r.spec.grant = Value(value);
    return true;
}

constexpr uint64_t least_restart_delay = 1'000'000; // nanoseconds

bool read_times(SpecReader& r, std::string_view field, View value) {
    bool good = r.seconds(field, value,
                          field == "startTimeout"   ? r.rare.start_timeout
                          : field == "stopTimeout"  ? r.spec.stop_timeout
                          : field == "restartDelay" ? r.rare.restart_delay
                          : field == "watchdog"     ? r.rare.watchdog
                                                    : r.rare.restart_delay_max);
    // None at all would never become more.
    if (good && field == "restartDelay" && r.rare.restart_delay == 0)
        r.rare.restart_delay = least_restart_delay;
    return good;
}

bool read_stop_signal(SpecReader& r, std::string_view field, View value) {
    auto name = value.as_text();
    r.spec.stop_signal = name ? signal_number(*name) : 0;
    return r.spec.stop_signal != 0 || r.wrong(field, value, "the name of a signal");
}

bool read_kill_mode(SpecReader& r, std::string_view field, View value) {
    auto name = value.as_symbol();
    if (name == "group")
        r.rare.kill_mode = KillMode::group;
    else if (name == "tree")
        r.rare.kill_mode = KillMode::tree;
    else if (name == "mixed")
        r.rare.kill_mode = KillMode::mixed;
    else if (name == "process")
        r.rare.kill_mode = KillMode::process;
    else
        return r.wrong(field, value, "group, tree, mixed or process");
    return true;
}

bool read_success(SpecReader& r, std::string_view field, View value) {
    if (!value.is(Kind::sequence))
        return r.wrong(field, value, "a list of exit codes and names of signals");
    for (View item : value.items()) {
        auto code = item.as_int();
        auto name = item.as_text();
        int status = 0; // as wait(2) gives it
        if (code && *code >= 0 && *code <= 255)
            status = static_cast<int>(*code) << 8;
        else if (name && signal_number(*name) != 0)
            status = signal_number(*name);
        else
            return r.wrong(field, item, "an exit code from 0 to 255 or the name of a signal");
        r.rare.success.push_back(status);
    }
    return true;
}

bool read_restart_limit(SpecReader& r, std::string_view field, View value) {
    bool good = r.fields(field, value, [&](std::string_view name, View item) {
        int64_t starts = 0;
        if (name == "starts") {
            if (r.integer(field, item, 1, 1000, starts))
                r.rare.restart_starts = static_cast<unsigned>(starts);
        } else if (name == "within") {
            r.seconds(field, item, r.rare.restart_within);
        } else {
            return false;
        }
        return true;
    });
    if (good && (r.rare.restart_starts == 0 || r.rare.restart_within == 0))
        return r.wrong(field, value, "{starts: NUMBER within: SECONDS}");
    return good;
}

bool read_commands(SpecReader& r, std::string_view field, View value) {
    return r.commands(field, value,
                      field == "startPre"    ? r.rare.start_pre
                      : field == "startPost" ? r.rare.start_post
                                             : r.rare.stop_post);
}

bool read_health(SpecReader& r, std::string_view field, View value) {
    RareFields::Health& health = r.rare.health;
    bool good = r.fields(field, value, [&](std::string_view name, View item) {
        std::string what = std::string(field) + ": " + std::string(name);
        int64_t retries = 0;
        if (name == "command") {
            r.command(what, item, health.argv);
        } else if (name == "interval" || name == "timeout") {
            uint64_t& time = name == "interval" ? health.interval : health.timeout;
            if (r.seconds(what, item, time) && time == 0) r.wrong(what, item, "more than 0");
        } else if (name == "retries") {
            if (r.integer(what, item, 1, 1000, retries))
                health.retries = static_cast<unsigned>(retries);
        } else {
            return false;
        }
        return true;
    });
    if (good && health.argv.empty())
        return r.fail(value, std::string(field) + ": command: missing");
    return good;
}

bool read_listen(SpecReader& r, std::string_view field, View value) {
    if (!value.is(Kind::sequence)) return r.wrong(field, value, "a list of sockets");
    for (View socket : value.items())
        if (auto checked = ListenSockets::check(socket); !checked)
            return r.fail(socket, std::string(field) + ": " + checked.error().message);
    if (value.count() > 0) r.rare.listen = Value(value);
    return true;
}

bool read_s6(SpecReader& r, std::string_view field, View value) {
    if (!r.path(field, value, r.rare.s6)) return false;
    return r.rare.s6.starts_with("/") || r.wrong(field, value, "an absolute path");
}

bool read_log(SpecReader& r, std::string_view, View value) {
    auto rotation = logs::parse_rotation(value);
    if (!rotation) return r.fail(value, rotation.error().message);
    r.spec.log = *rotation;
    return true;
}

constexpr SpecField table[] = {
    {"argv", read_argv},
    {"grant", read_grant},
    {"health", read_health},
    {"killMode", read_kill_mode},
    {"linger", read_linger},
    {"listen", read_listen},
    {"log", read_log},
    {"notify", read_notify},
    {"protocol", read_protocol},
    {"readyOnStart", read_ready_on_start},
    {"restart", read_restart},
    {"restartDelay", read_times},
    {"restartDelayMax", read_times},
    {"restartLimit", read_restart_limit},
    {"resume", read_resume},
    {"s6", read_s6},
    {"startPost", read_commands},
    {"startPre", read_commands},
    {"startTimeout", read_times},
    {"stopPost", read_commands},
    {"stopSignal", read_stop_signal},
    {"stopTimeout", read_times},
    {"success", read_success},
    {"watchdog", read_times},
};

} // namespace

SpecFields life_fields() { return {std::begin(table), std::end(table)}; }

} // namespace muster::services
