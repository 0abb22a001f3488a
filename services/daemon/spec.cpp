#include "services/daemon/spec.h"

#include <algorithm>

#include "init/preserves/text_writer.h"
#include "services/process/process.h"

namespace muster::services {

namespace {

using preserves::Kind;

constexpr uint64_t usual_linger = 5'000'000'000; // of one that can resume
constexpr double longest_time = 86'400;          // seconds
constexpr int highest_notify = 1023;

Error wrong(std::string_view field, View value, std::string_view expected) {
    std::string text = preserves::to_text(value);
    if (text.size() > 80) text = text.substr(0, 77) + "…"; // UTF-8 may be cut: a message only
    return Error{std::string(field) + ": " + text + " is not " + std::string(expected)};
}

Result<std::string> plain_text(std::string_view field, View value) {
    auto text = value.as_text();
    if (!text) return wrong(field, value, "a string");
    // What the kernel takes as the end of a string cannot be in one.
    if (text->find('\0') != std::string_view::npos)
        return Error{std::string(field) + ": a string with a NUL in it"};
    return std::string(*text);
}

Result<> parse_command(View command, std::vector<std::string>& argv) {
    if (command.as_string()) {
        auto text = plain_text("argv", command);
        if (!text) return text.error();
        argv = {"/bin/sh", "-c", *text};
        return {};
    }
    if (!command.is(Kind::sequence)) return wrong("argv", command, "a string or a list of strings");
    for (View item : command.items()) {
        auto text = plain_text("argv", item);
        if (!text) return text.error();
        argv.push_back(*text);
    }
    if (argv.empty()) return Error{"argv: the list is empty"};
    if (argv[0].empty()) return Error{"argv: the name of the program is empty"};
    return {};
}

Result<> parse_bool(std::string_view field, View value, bool& out) {
    auto truth = value.as_bool();
    if (!truth) return wrong(field, value, "#t or #f");
    out = *truth;
    return {};
}

Result<> parse_env(View value, std::vector<DaemonSpec::Variable>& out) {
    if (!value.is(Kind::dictionary)) return wrong("env", value, "a dictionary");
    View name;
    for (View item : value.items()) {
        if (!name.valid()) {
            name = item;
            continue;
        }
        DaemonSpec::Variable variable;
        auto text = plain_text("env", name);
        if (!text) return text.error();
        if (text->empty() || text->find('=') != std::string::npos)
            return wrong("env", name, "the name of a variable");
        variable.name = *text;
        if (item.as_bool() == false) {
            variable.removed = true;
        } else {
            auto content = plain_text("env", item);
            if (!content) return wrong("env", item, "a string or #f").with_context(variable.name);
            variable.value = *content;
        }
        out.push_back(std::move(variable));
        name = View();
    }
    return {};
}

Result<> parse_restart(View value, Restart& out) {
    auto name = value.as_symbol();
    if (name == "always")
        out = Restart::always;
    else if (name == "on-error")
        out = Restart::on_error;
    else if (name == "all")
        out = Restart::all;
    else if (name == "never")
        out = Restart::never;
    else
        return wrong("restart", value, "always, on-error, all or never");
    return {};
}

Result<> parse_protocol(View value, Protocol& out) {
    auto name = value.as_symbol();
    if (name == "none")
        out = Protocol::none;
    else if (name == "application/syndicate")
        out = Protocol::packed;
    else if (name == "text/syndicate")
        out = Protocol::text;
    else
        return wrong("protocol", value, "none, application/syndicate or text/syndicate");
    return {};
}

Result<> parse_seconds(std::string_view key, View value, uint64_t& out) {
    double seconds = -1;
    if (auto number = value.as_number())
        seconds = *number;
    else if (auto whole = value.as_int())
        seconds = static_cast<double>(*whole);
    if (!(seconds >= 0 && seconds <= longest_time)) // also false for a NaN
        return wrong(key, value, "a number of seconds from 0 to 86400");
    out = static_cast<uint64_t>(seconds * 1e9);
    return {};
}

Result<> parse_field(std::string_view key, View value, DaemonSpec& spec, bool& ready_given,
                     bool& linger_given) {
    if (key == "argv") return parse_command(value, spec.argv);
    if (key == "env") return parse_env(value, spec.env);
    if (key == "clearEnv") return parse_bool(key, value, spec.clear_env);
    if (key == "resume") return parse_bool(key, value, spec.resume);
    if (key == "restart") return parse_restart(value, spec.restart);
    if (key == "protocol") return parse_protocol(value, spec.protocol);
    if (key == "stopTimeout") return parse_seconds(key, value, spec.stop_timeout);
    if (key == "linger") {
        linger_given = true;
        return parse_seconds(key, value, spec.linger);
    }
    if (key == "readyOnStart") {
        ready_given = true;
        return parse_bool(key, value, spec.ready_on_start);
    }
    if (key == "dir") {
        auto path = plain_text(key, value);
        if (!path) return path.error();
        if (path->empty()) return wrong(key, value, "a path");
        spec.dir = *path;
        return {};
    }
    if (key == "notify") {
        auto number = value.as_int();
        if (!number || *number < 3 || *number > highest_notify)
            return wrong(key, value, "a descriptor from 3 to 1023");
        spec.notify = static_cast<int>(*number);
        return {};
    }
    if (key == "grant") {
        if (!value.is(Kind::dictionary)) return wrong(key, value, "a dictionary");
        spec.grant = Value(value);
        return {};
    }
    if (key == "stopSignal") {
        auto name = value.as_text();
        spec.stop_signal = name ? signal_number(*name) : 0;
        if (spec.stop_signal == 0) return wrong(key, value, "the name of a signal");
        return {};
    }
    spec.remarks.push_back("unknown field " + std::string(key) + " is ignored");
    return {};
}

} // namespace

Result<DaemonSpec> parse_spec(View value) {
    DaemonSpec spec;
    if (value.is_record("one-shot", 1)) {
        spec.ready_on_start = false;
        spec.restart = Restart::on_error;
        if (auto command = parse_command(value.at(0), spec.argv); !command) return command.error();
        return spec;
    }
    if (value.as_string() || value.is(Kind::sequence)) {
        if (auto command = parse_command(value, spec.argv); !command) return command.error();
        return spec;
    }
    if (!value.is(Kind::dictionary))
        return Error{"the specification is not a string, a list, <one-shot …> or a dictionary"};
    bool ready_given = false;
    bool linger_given = false;
    View key;
    for (View item : value.items()) {
        if (!key.valid()) {
            key = item;
            continue;
        }
        if (auto name = key.as_symbol()) {
            if (auto field = parse_field(*name, item, spec, ready_given, linger_given); !field)
                return field.error();
        } else {
            spec.remarks.push_back("unknown field " + preserves::to_text(key) + " is ignored");
        }
        key = View();
    }
    if (spec.argv.empty()) return Error{"argv: missing"};
    if (spec.notify >= 0 && !ready_given) spec.ready_on_start = false;
    if (spec.resume && spec.protocol == Protocol::packed) {
        // Only text can be resumed: a packet cut in half would never be noticed (design 6).
        spec.resume = false;
        spec.remarks.push_back("resume is ignored: only protocol text/syndicate can");
    }
    if (spec.resume && !linger_given) spec.linger = usual_linger;
    return spec;
}

std::vector<std::string> environment_of(const DaemonSpec& spec, const std::string& service) {
    std::vector<DaemonSpec::Variable> variables;
    if (!spec.clear_env) {
        variables.push_back({"PATH", std::string(default_path)});
        variables.push_back({"HOME", "/root"});
        variables.push_back({"TERM", "linux"});
        variables.push_back({"MUSTER_SERVICE", service});
    }
    for (const DaemonSpec::Variable& change : spec.env) {
        std::erase_if(variables, [&](const auto& old) { return old.name == change.name; });
        if (!change.removed) variables.push_back(change);
    }
    std::vector<std::string> environment;
    for (const DaemonSpec::Variable& variable : variables)
        environment.push_back(variable.name + "=" + variable.value);
    return environment;
}

std::string path_of(const std::vector<std::string>& environment) {
    for (const std::string& variable : environment)
        if (variable.starts_with("PATH=")) return variable.substr(5);
    return std::string(default_path);
}

} // namespace muster::services
