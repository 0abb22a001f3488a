#include "services/muster/shutdown.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "init/base/fd.h"
#include "init/dataspace/pattern.h"
#include "services/muster/bus.h"
#include "services/muster/output.h"
#include "services/muster/screen.h"
#include "services/muster/shutdown_request.h"
#include "services/muster/upgrade.h"
#include "services/muster/wall.h"

namespace muster::command {

using What = ShutdownRequest::What;
using When = ShutdownRequest::When;

const char* const shutdown_usage =
    "usage: shutdown [-h | -P | -H | -r | -k] [TIME] [MESSAGE...]\n"
    "       shutdown -c [MESSAGE...]\n"
    "       poweroff | reboot | halt [-f] [-n] [-p] [--no-wall]\n"
    "       telinit 0 | 6 | 1 | 2 | 3 | 4 | 5 | q | u\n"
    "\n"
    "Stops all services in order, and then the machine.\n"
    "\n"
    "  TIME        now, +MINUTES or HH:MM; +1 without it\n"
    "  MESSAGE     for everybody at a terminal; they are also warned as the time comes near\n"
    "  -h, -P      power off; also without any of these\n"
    "  -H          halt; with halt -p: power off\n"
    "  -r          reboot\n"
    "  -k          only warn\n"
    "  -c          call off what is pending\n"
    "  -f          at once, without stopping anything; -n: without writing to disks first\n"
    "  --no-wall   tell nobody\n"
    "\n"
    "telinit 0 powers off, 6 reboots, 1 (or S) stops all but the core layer and has a shell on "
    "the\n"
    "console, 2 to 5 bring everything back, q looks at the configuration again, u is\n"
    "`muster upgrade`. Options of other implementations that have no meaning here are ignored.\n";

namespace {

constexpr const char* nologin = "/run/nologin";
constexpr int64_t nologin_minutes = 5;

const char* action_of(What what) {
    return what == What::reboot ? "reboot" : what == What::halt ? "halt" : "poweroff";
}

const char* will(std::string_view action) {
    return action == "reboot" ? "reboot" : action == "halt" ? "halt" : "power off";
}

int failed(const std::string& what) {
    std::fprintf(stderr, "muster: %s\n", what.c_str());
    return 1;
}

std::string who() {
    for (const char* name : {"SUDO_USER", "DOAS_USER", "LOGNAME", "USER"})
        if (const char* user = std::getenv(name); user && *user) return user;
    return "root";
}

std::string clock_text(int64_t when, const char* format) {
    time_t time = static_cast<time_t>(when);
    tm local{};
    char text[64];
    localtime_r(&time, &local);
    return std::string(text, strftime(text, sizeof text, format, &local));
}

void wall(const std::string& line, const std::string& message) {
    std::string text = "\r\nBroadcast message from " + who() + " (" +
                       clock_text(::time(nullptr), "%a %Y-%m-%d %H:%M:%S") + "):\r\n\r\n" + line +
                       "\r\n";
    if (!message.empty()) text += printable(message) + "\r\n";
    write_to_all(text + "\r\n");
}

int64_t now_on(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return now.tv_sec;
}

int force(const ShutdownRequest& request) {
    if (request.sync) ::sync();
    ::reboot(request.what == What::reboot ? RB_AUTOBOOT
             : request.what == What::halt ? RB_HALT_SYSTEM
                                          : RB_POWER_OFF);
    return failed(std::string(action_of(request.what)) + ": " + std::strerror(errno));
}

// As long as process 1 lives there is a way.
int signal_init(What what) {
    int number = what == What::reboot ? SIGTERM : what == What::halt ? SIGUSR1 : SIGUSR2;
    if (::kill(1, number) == 0) return 0;
    return failed(std::string(action_of(what)) + ": " + std::strerror(errno));
}

Result<> tell(Bus& bus, Value body) {
    Ref<protocol::Reference> system = bus.capability("system");
    if (!system) return Error{"permission denied: only root may do that"};
    bus.client().message(system, body);
    return bus.settle();
}

// When it is due, as what the second stage takes; and since 1970.
Value due_of(const ShutdownRequest& request, int64_t& since_1970) {
    int64_t now = now_on(CLOCK_REALTIME);
    if (request.when == When::minutes) {
        since_1970 = now + request.minutes * 60;
        // Whatever happens to the clock meanwhile.
        return preserves::record(
            "in", {preserves::integer(now_on(CLOCK_BOOTTIME) + request.minutes * 60)});
    }
    time_t time = static_cast<time_t>(now);
    tm local{};
    localtime_r(&time, &local);
    local.tm_hour = request.hour;
    local.tm_min = request.minute;
    local.tm_sec = 0;
    local.tm_isdst = -1;
    since_1970 = mktime(&local);
    if (since_1970 <= now) {
        ++local.tm_mday;
        local.tm_isdst = -1;
        since_1970 = mktime(&local);
    }
    return preserves::record("at", {preserves::integer(since_1970)});
}

int cancel(Bus& bus, const ShutdownRequest& request) {
    auto pending = pending_shutdown(bus);
    if (!pending) return failed(pending.error().message);
    if (!pending->valid()) {
        std::fputs("no shutdown is pending\n", stderr);
        return 0;
    }
    Value word = preserves::symbol("cancel-shutdown");
    Result<> told = tell(bus, preserves::record("system", {word}));
    if (!told) return failed(told.error().message);
    if (request.wall) wall("The shutdown was called off.", request.message);
    return 0;
}

int later(Bus& bus, const ShutdownRequest& request) {
    int64_t time = 0;
    Value due = due_of(request, time);
    const char* action = action_of(request.what);
    Value order = preserves::record("shutdown",
                                    {preserves::symbol(action), due,
                                     preserves::string(request.message), preserves::string(who())});
    Result<> told = tell(bus, preserves::record("system", {order}));
    if (!told) return failed(told.error().message);
    std::string line = std::string("The system will ") + will(action) + " at " +
                       clock_text(time, "%a %Y-%m-%d %H:%M") + ".";
    if (request.wall) wall(line, request.message);
    put_line(line + " `shutdown -c` calls it off.");
    return 0;
}

// --- single-user mode (services/etc/muster/boot/40-modes.pr) ---

Result<bool> is_there(Bus& bus, const Value& pattern) {
    auto found = bus.query({"config"}, pattern);
    if (!found) return found.error();
    return !found->empty();
}

int change_mode(Bus& bus, bool single) {
    namespace pat = dataspace::pattern;
    if (!bus.is_root()) return failed("permission denied: only root may do that");
    Value shell = preserves::record("daemon", {preserves::symbol("single-user")});
    Value all = preserves::record("milestone", {preserves::symbol("default")});
    auto order = [&](const char* what, const Value& service) {
        bus.client().message(bus.config(), preserves::record(what, {service}));
    };
    auto known = is_there(
        bus,
        pat::record("daemon", {pat::literal(preserves::symbol("single-user")), pat::discard()}));
    auto booted =
        is_there(bus, pat::record("boot-mode", {pat::literal(preserves::symbol("single"))}));
    if (!known || !booted) return failed((known ? booted : known).error().message);
    if (single) {
        if (!*known) return failed("nobody defines <daemon single-user>: this is no machine");
        auto done = is_there(
            bus, pat::record("service-state",
                             {pat::literal(shell), pat::literal(preserves::symbol("complete"))}));
        if (!done) return failed(done.error().message);
        order("start-service", shell);
        if (*done) order("restart-service", shell); // booted so, and left since
        order("stop-service", all);
    } else if (*booted) { // it was not asked for by us
        order("start-service", all);
        order("stop-service", shell);
    } else {
        order("release-service", all);
        order("release-service", shell);
    }
    // We may be among those that have to go.
    Result<> settled = bus.settle();
    return settled ? 0 : failed(settled.error().message);
}

// --- the service that waits ---

volatile sig_atomic_t told_to_end = 0;

void end_it(int) { told_to_end = 1; }

class NoLogin {
  public:
    ~NoLogin() {
        if (made_ && told_to_end) ::unlink(nologin);
    }
    void make(const std::string& text) {
        if (std::exchange(made_, true)) return;
        Fd file(::open(nologin, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
        if (!file || ::write(file.get(), text.data(), text.size()) < 0)
            std::fprintf(stderr, "%s: %s\n", nologin, std::strerror(errno));
    }

  private:
    bool made_ = false;
};

// Warned at these numbers of minutes before.
constexpr int64_t warnings[] = {60, 30, 15, 10, 5, 4, 3, 2, 1};

int wait_for_it(const std::vector<std::string>& words, const std::string& path) {
    if (words.size() != 5) return failed("shutdown --pending is for the second stage");
    const std::string& action = words[1];
    clockid_t clock = words[2] == "at" ? CLOCK_REALTIME : CLOCK_BOOTTIME;
    int64_t due = std::strtoll(words[3].c_str(), nullptr, 10);
    const std::string& message = words[4];

    // Not restarted: a sleep must end.
    struct sigaction ending {};
    ending.sa_handler = end_it;
    sigaction(SIGTERM, &ending, nullptr);
    NoLogin login;
    for (;;) {
        int64_t left = due - now_on(clock);
        std::string line = std::string("The system will ") + will(action) + " in " +
                           std::to_string((left + 59) / 60) + " min.";
        if (left <= nologin_minutes * 60) login.make(line + "\n" + message + "\n");
        if (left <= 0) break;
        int64_t next = due;
        for (int64_t minutes : warnings)
            if (minutes * 60 < left) {
                next = due - minutes * 60;
                break;
            }
        timespec until{static_cast<time_t>(next), 0};
        while (!told_to_end && clock_nanosleep(clock, TIMER_ABSTIME, &until, nullptr) == EINTR) {
        }
        if (told_to_end) return 0;
        if (next == due) continue;
        wall(std::string("The system will ") + will(action) + " in " +
                 std::to_string((due - next) / 60) + " min.",
             message);
    }
    wall(std::string("The system will ") + will(action) + " NOW.", message);
    auto bus = Bus::connect(path);
    if (!bus) return failed(bus.error().message);
    Result<> told = tell(**bus, preserves::record("system", {Value(preserves::symbol(action))}));
    if (!told) return failed(told.error().message);
    while (!told_to_end)
        pause(); // it ends with the rest
    return 0;
}

} // namespace

int shutdown_command(std::string_view name, const std::vector<std::string>& words,
                     const std::string& path) {
    if (name == "shutdown" && !words.empty() && words[0] == "--pending")
        return wait_for_it(words, path);
    auto request = parse_shutdown(name, words);
    if (!request) {
        std::fprintf(stderr, "%s: %s; see %s --help\n", std::string(name).c_str(),
                     request.error().message.c_str(), std::string(name).c_str());
        return 2;
    }
    const char* action = action_of(request->what);
    std::string now = std::string("The system will ") + will(action) + " NOW.";
    switch (request->what) {
    case What::help:
        put(shutdown_usage);
        return 0;
    case What::nothing:
        return 0;
    case What::upgrade:
        return upgrade(path);
    default:
        break;
    }
    if (request->only_wall) {
        wall(now, request->message);
        return 0;
    }
    if (request->force) return force(*request);
    // There is another way than the bus, so it is not waited for long.
    auto bus = Bus::connect(path, false, 0, Bus::silence);
    if (request->what == What::single || request->what == What::full)
        return bus ? change_mode(**bus, request->what == What::single)
                   : failed(bus.error().message);
    if (request->what == What::reload) {
        if (bus && (*bus)->is_root()) {
            (*bus)->client().message((*bus)->config(),
                                     preserves::record("reload-configuration", {}));
            Result<> settled = (*bus)->settle();
            return settled ? 0 : failed(settled.error().message);
        }
        return ::kill(1, SIGHUP) == 0 ? 0 : failed(std::strerror(errno));
    }
    if (!bus && (request->what == What::cancel || request->when != When::now))
        return failed(bus.error().message);
    if (request->what == What::cancel) return cancel(**bus, *request);
    if (request->when != When::now) return later(**bus, *request);
    if (bus && !(*bus)->is_root())
        return failed(std::string("permission denied: only root may ") + action + " the system");
    if (!bus && ::geteuid() != 0) return failed(bus.error().message);
    if (request->wall) wall(now, request->message);
    if (!bus) return signal_init(request->what);
    Result<> told = tell(**bus, preserves::record("system", {Value(preserves::symbol(action))}));
    return told ? 0 : signal_init(request->what);
}

Result<Value> pending_shutdown(Bus& bus) {
    namespace pat = dataspace::pattern;
    Value any = pat::discard();
    auto found = bus.query({"status"}, pat::record("pending-shutdown", {any, any, any, any}));
    if (!found) return found.error();
    return found->empty() ? Value() : found->front();
}

std::string pending_shutdown_line(View record) {
    auto action = record.at(0).as_symbol();
    int64_t seconds = record.at(1).at(0).as_int().value_or(0);
    auto message = record.at(2).as_string();
    auto user = record.at(3).as_string();
    bool at = record.at(1).is_record("at", 1);
    int64_t time = at ? seconds : now_on(CLOCK_REALTIME) + seconds - now_on(CLOCK_BOOTTIME);
    std::string line = "shutdown: the system will ";
    line += will(action.value_or("poweroff"));
    line += " at " + clock_text(time, "%a %Y-%m-%d %H:%M");
    if (user) line += ", says " + std::string(*user);
    if (message && !message->empty()) line += ": " + std::string(*message);
    return line;
}

} // namespace muster::command
