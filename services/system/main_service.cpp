#include "services/system/main_service.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "init/base/fd.h"
#include "init/base/wait_status.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/encoder.h"
#include "init/preserves/utf8.h"

namespace muster::services {

using dataspace::Turn;
using preserves::Value;
using preserves::View;
namespace pat = dataspace::pattern;

namespace {

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

MainService::MainService(Turn& turn, const dataspace::CapRef& config, const std::string& name,
                         const std::vector<std::string>& command, const std::string& init_program,
                         std::function<void(pid_t)> runs, std::function<void()> ended)
    : config_(config), runs_(std::move(runs)), ended_(std::move(ended)) {
    Value id = preserves::symbol(command.empty() ? std::string_view(name) : "main");
    service_ = preserves::record("daemon", {id});
    observe(turn, config, pat::record("daemon-status", {pat::literal(id), pat::bind()}),
            [this](Turn&, View captures) {
                pid_ = captures.at(0).get("pid").as_int().value_or(0);
                if (pid_ > 0) runs_(static_cast<pid_t>(pid_));
            },
            {});
    on_message(turn, config, pat::record("exited", {pat::literal(service_), pat::bind()}),
               [this](Turn&, View captures) {
                   int status = static_cast<int>(captures.at(0).as_int().value_or(0));
                   pid_ = 0;
                   status_ = shell_status(status);
                   ended_();
               });
    if (!command.empty())
        turn.assert_(config,
                     preserves::record(
                         "daemon", {id, specification(with_descriptors(init_program, command))}));
}

void MainService::require(Turn& turn) {
    turn.assert_(config_, preserves::record("require-service", {service_}));
}

void MainService::signal(int number) const {
    if (pid_ > 0) ::kill(static_cast<pid_t>(pid_), number);
}

} // namespace muster::services
