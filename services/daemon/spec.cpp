#include "services/daemon/spec.h"

#include <algorithm>

#include "init/preserves/text_writer.h"
#include "services/daemon/spec_values.h"
#include "services/process/process.h"

namespace muster::services {

namespace {

using preserves::Kind;

constexpr uint64_t usual_linger = 5'000'000'000; // of one that can resume

const SpecField* find_field(std::string_view name) {
    for (SpecFields fields : {process_fields(), life_fields()})
        for (const SpecField* field = fields.begin; field != fields.end; ++field)
            if (field->name == name) return field;
    return nullptr;
}

// How many letters must be put in, left out or replaced to make the one of the other.
size_t distance(std::string_view a, std::string_view b) {
    std::vector<size_t> row(b.size() + 1);
    for (size_t j = 0; j <= b.size(); ++j)
        row[j] = j;
    for (size_t i = 1; i <= a.size(); ++i) {
        size_t corner = row[0]++;
        for (size_t j = 1; j <= b.size(); ++j) {
            size_t above = row[j];
            row[j] = std::min({above + 1, row[j - 1] + 1, corner + (a[i - 1] != b[j - 1])});
            corner = above;
        }
    }
    return row.back();
}

// "; is it restart?" for what is nearly that.
std::string guess(std::string_view name) {
    const SpecField* best = nullptr;
    size_t least = 3;
    for (SpecFields fields : {process_fields(), life_fields()})
        for (const SpecField* field = fields.begin; field != fields.end; ++field) {
            if (name.size() > 40 || field->name.size() < 4) continue;
            size_t away = distance(name, field->name);
            if (away < least) {
                best = field;
                least = away;
            }
        }
    return best != nullptr ? "; is it " + std::string(best->name) + "?" : "";
}

void read_dictionary(SpecReader& r, View value) {
    View key;
    for (View item : value.items()) {
        if (!key.valid()) {
            key = item;
            continue;
        }
        auto name = key.as_symbol();
        auto quoted = key.as_string();
        if (const SpecField* field = name ? find_field(*name) : nullptr)
            field->read(r, field->name, item);
        else
            r.fail(key, "unknown field " + preserves::to_text(key) +
                            (name                                       ? guess(*name)
                             : quoted && find_field(*quoted) != nullptr ? "; names have no quotes"
                                                                        : ""));
        key = View();
    }
    auto conflict = [&](std::string_view field, std::string message) {
        View part = value.get(field);
        r.fail(part.valid() ? part : value, std::string(field) + ": " + std::move(message));
    };
    DaemonSpec& spec = r.spec;
    RareFields& rare = r.rare;
    if (!r.problems.empty()) return;
    if (rare.s6.empty() && spec.argv.empty()) return conflict("argv", "missing");
    if (!rare.s6.empty() && !spec.argv.empty()) conflict("s6", "not together with argv");
    // Only text can be resumed: a packet cut in half would never be noticed (design 6).
    if (spec.resume && spec.protocol != Protocol::text)
        conflict("resume", "only with protocol: text/syndicate");
    bool speaks = spec.protocol != Protocol::none;
    if (speaks && (rare.standard_input || rare.tty))
        conflict(rare.tty ? "tty" : "stdin", "not together with a protocol");
    if (speaks && rare.standard_output != Output::log)
        conflict("stdout", "not together with a protocol");
    if (rare.tty && (rare.standard_output != Output::log || rare.standard_input ||
                     rare.standard_error != Output::log))
        conflict("tty", "is all standard descriptors: not together with stdin, stdout or stderr");
    // Of files, only what opens them can make the one the other.
    if (rare.standard_output == Output::file && rare.standard_error == Output::standard_output)
        r.stream("--stderr", "&1");
    if (rare.watchdog > 0) rare.notify_socket = rare.notify_socket || spec.notify < 0;
    if (rare.watchdog > 0 && !rare.notify_socket) conflict("watchdog", "needs notify: socket");
    if (spec.notify >= 0 && rare.listen.valid() &&
        spec.notify < 3 + static_cast<int>(rare.listen.view().count()))
        conflict("notify", "this descriptor is one of the sockets of listen");
    if ((spec.notify >= 0 || rare.notify_socket) && !r.ready_given &&
        !(rare.watchdog > 0 && !value.get("notify").valid()))
        spec.ready_on_start = false;
    if (spec.resume && !r.linger_given) spec.linger = usual_linger;
}

bool said_something(const RareFields& rare) {
    return !rare.stub.empty() || !rare.streams.empty() || !rare.cgroup.empty() ||
           !rare.start_pre.empty() || !rare.start_post.empty() || !rare.stop_post.empty() ||
           !rare.health.argv.empty() || !rare.success.empty() || rare.listen.valid() ||
           !rare.s6.empty() || rare.start_timeout > 0 || rare.watchdog > 0 ||
           rare.restart_delay > 0 || rare.restart_delay_max > 0 || rare.restart_starts > 0 ||
           rare.kill_mode != KillMode::group || rare.notify_socket ||
           rare.standard_output != Output::log || rare.standard_error != Output::log;
}

} // namespace

const RareFields& DaemonSpec::more() const {
    static const RareFields none;
    return rare ? *rare : none;
}

bool DaemonSpec::is_success(int wait_status) const {
    if (wait_status == 0) return true;
    const std::vector<int>& success = more().success;
    return std::find(success.begin(), success.end(), wait_status & ~0x80) != success.end();
}

std::vector<SpecProblem> read_spec(View value, DaemonSpec* out) {
    SpecReader r;
    if (value.is_record("one-shot", 1)) {
        r.spec.ready_on_start = false;
        r.spec.restart = Restart::on_error;
        r.command("argv", value.at(0), r.spec.argv);
        if (value.count() > 1) r.fail(value.at(1), "<one-shot COMMAND> says no more than that");
    } else if (value.as_string() || value.is(Kind::sequence)) {
        r.command("argv", value, r.spec.argv);
    } else if (value.is(Kind::dictionary)) {
        read_dictionary(r, value);
    } else {
        r.fail(value, "the specification is not a string, a list, <one-shot …> or a dictionary");
    }
    if (out != nullptr) {
        if (said_something(r.rare))
            r.spec.rare = std::make_shared<const RareFields>(std::move(r.rare));
        *out = std::move(r.spec);
    }
    return std::move(r.problems);
}

Result<DaemonSpec> parse_spec(View value) {
    DaemonSpec spec;
    auto problems = read_spec(value, &spec);
    if (!problems.empty()) return Error{std::move(problems.front().message)};
    return spec;
}

std::vector<std::pair<View, std::string>> check_assertion(View assertion) {
    std::vector<std::pair<View, std::string>> found;
    if (!assertion.is_record("daemon", 2)) return found;
    auto add = [&](View part, const std::string& message) {
        found.emplace_back(part,
                           "<daemon " + preserves::to_text(assertion.at(0)) + " …>: " + message);
    };
    if (assertion.count() > 2) add(assertion.at(2), "more than <daemon ID SPEC>");
    for (const SpecProblem& problem : read_spec(assertion.at(1), nullptr))
        add(problem.part, problem.message);
    return found;
}

std::vector<std::string> environment_of(const DaemonSpec& spec, const std::string& service) {
    std::vector<DaemonSpec::Variable> variables;
    if (!spec.clear_env) {
        variables.push_back({"PATH", std::string(default_path)});
        if (!spec.more().user) variables.push_back({"HOME", "/root"});
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
