#include "services/system/main_service.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "init/base/fd.h"
#include "init/base/wait_status.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/encoder.h"
#include "init/preserves/text_writer.h"
#include "init/preserves/utf8.h"
#include "services/daemon/context.h"
#include "services/system/log_printer.h"

namespace muster::services {

using dataspace::Turn;
using preserves::Value;
using preserves::View;
namespace pat = dataspace::pattern;

namespace {

constexpr int command_not_found = 127;

// Whether a process can open what process 1 has as this standard descriptor: sockets cannot.
bool can_open(const std::string& path, int flags) {
    return Fd(::open(path.c_str(), flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)).valid();
}

// What runs the command with the descriptors of the container.
std::vector<std::string> with_descriptors(const std::string& init_program,
                                          const std::vector<std::string>& command) {
    std::vector<std::string> argv{init_program, "--exec"};
    if (can_open("/proc/1/fd/0", O_RDONLY)) {
        argv.push_back("--stdin");
        argv.push_back("/proc/1/fd/0");
    }
    for (const char* number : {"1", "2"}) {
        std::string path = std::string("/proc/1/fd/") + number;
        if (!can_open(path, O_WRONLY)) continue;
        argv.push_back(*number == '1' ? "--stdout" : "--stderr");
        argv.push_back(">>" + path);
    }
    argv.push_back("--");
    argv.insert(argv.end(), command.begin(), command.end());
    return argv;
}

Value specification(const std::vector<std::string>& argv) {
    preserves::Encoder out;
    out.begin_dictionary();
    out.symbol("argv");
    out.begin_sequence();
    for (const std::string& word : argv)
        out.string(word);
    out.end();
    out.symbol("clearEnv");
    out.boolean(true);
    out.symbol("env");
    out.begin_dictionary();
    for (char** variable = environ; *variable != nullptr; ++variable) {
        std::string_view text = *variable;
        size_t equals = text.find('=');
        if (equals == std::string_view::npos || equals == 0 || !preserves::is_utf8(text)) continue;
        out.string(text.substr(0, equals));
        out.string(text.substr(equals + 1));
    }
    out.end();
    out.symbol("restart");
    out.symbol("never");
    out.end();
    return *out.finish();
}

} // namespace

MainService::MainService(Turn& turn, const dataspace::CapRef& config, const dataspace::CapRef& log,
                         const std::string& name, const std::vector<std::string>& command,
                         const std::string& init_program, std::function<void(pid_t)> runs,
                         std::function<void()> ended)
    : config_(config), log_(log), runs_(std::move(runs)), ended_(std::move(ended)) {
    Value id = preserves::symbol(command.empty() ? std::string_view(name) : "main");
    service_ = preserves::record("daemon", {id});
    observe(
        turn, config, pat::record("daemon-status", {pat::literal(id), pat::bind()}),
        [this](Turn& now, View captures) {
            pid_ = captures.at(0).get("pid").as_int().value_or(0);
            if (pid_ > 0) runs_(static_cast<pid_t>(pid_));
            waits_for_definition_ = captures.at(0).get("phase").is_symbol("undefined");
            end_if_undefined(now);
        },
        [this](Turn&, View captures) {
            if (captures.at(0).get("phase").is_symbol("undefined")) waits_for_definition_ = false;
        });
    on_message(turn, config, pat::record("exited", {pat::literal(service_), pat::bind()}),
               [this](Turn&, View captures) {
                   int status = static_cast<int>(captures.at(0).as_int().value_or(0));
                   pid_ = 0;
                   status_ = shell_status(status);
                   ended_();
               });
    if (command.empty())
        observe_definition(turn);
    else
        turn.assert_(config,
                     preserves::record(
                         "daemon", {id, specification(with_descriptors(init_program, command))}));
}

void MainService::observe_definition(Turn& turn) {
    auto count = [&](Value pattern, auto change) {
        observe(
            turn, config_, pattern,
            [this, change](Turn& now, View) {
                change(+1);
                end_if_undefined(now);
            },
            [this, change](Turn& now, View) {
                change(-1);
                end_if_undefined(now);
            });
    };
    Value watcher = pat::bind(pat::record("config-watcher", {pat::discard(), pat::discard()}));
    count(pat::record("daemon", {pat::literal(service_.view().at(0)), pat::bind()}),
          [this](int change) { definitions_ += change; });
    count(pat::record("require-service", {watcher}), [this](int change) { unread_ += change; });
    count(pat::record("service-state", {watcher, pat::literal(preserves::symbol("ready"))}),
          [this](int change) { unread_ -= change; });
}

bool MainService::undefined() const {
    return waits_for_definition_ && definitions_ == 0 && unread_ <= 0;
}

void MainService::end_if_undefined(Turn& turn) {
    if (judging_ || status_ || !undefined()) return;
    judging_ = true;
    judge(turn, judgement_rounds);
}

void MainService::judge(Turn& turn, int rounds) {
    turn.sync(config_, [this, rounds](Turn& later) {
        if (undefined() && rounds > 0) return judge(later, rounds - 1);
        judging_ = false;
        if (!undefined()) return;
        say(later, log_,
            "the main service cannot run: nobody defines " + preserves::to_text(service_) +
                ", and all configuration is read");
        status_ = command_not_found;
        ended_();
    });
}

void MainService::require(Turn& turn) {
    turn.assert_(config_, preserves::record("require-service", {service_}));
}

void MainService::signal(int number) const {
    if (pid_ > 0) ::kill(static_cast<pid_t>(pid_), number);
}

} // namespace muster::services
