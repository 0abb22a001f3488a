#include "services/muster/top.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "init/dataspace/pattern.h"

namespace muster::command {

namespace pat = dataspace::pattern;

namespace {

// A change of a service is shown at once, but no more often than this, in microseconds.
constexpr uint64_t least_delay = 250'000;

Result<> write_all(std::string_view text) {
    while (!text.empty()) {
        ssize_t count = ::write(STDOUT_FILENO, text.data(), text.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return system_error("standard output", errno);
        text.remove_prefix(static_cast<size_t>(count));
    }
    return {};
}

// The whole of a terminal, without echo; given back when this goes.
class FullScreen {
  public:
    FullScreen() { enter(); }
    ~FullScreen() { leave(); }
    FullScreen(const FullScreen&) = delete;
    FullScreen& operator=(const FullScreen&) = delete;

    void enter() {
        keys_ = tcgetattr(STDIN_FILENO, &before_) == 0;
        if (keys_) {
            termios raw = before_;
            raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
            raw.c_cc[VMIN] = 1;
            raw.c_cc[VTIME] = 0;
            tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
        }
        (void)write_all("\033[?1049h\033[?25l");
    }
    void leave() {
        (void)write_all("\033[?25h\033[?1049l");
        if (keys_) tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
        keys_ = false;
    }

  private:
    termios before_{};
    bool keys_ = false;
};

// Those that end or change what is shown; as they were before when this goes.
class Signals {
  public:
    Signals() {
        sigset_t set;
        sigemptyset(&set);
        for (int each : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH})
            sigaddset(&set, each);
        sigprocmask(SIG_BLOCK, &set, &before_);
        fd_.reset(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    }
    ~Signals() { sigprocmask(SIG_SETMASK, &before_, nullptr); }
    Signals(const Signals&) = delete;
    Signals& operator=(const Signals&) = delete;

    int fd() const { return fd_.get(); }

  private:
    sigset_t before_{};
    Fd fd_;
};

std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f", value);
    return text;
}

void write_json(Json& json, const World& world, const std::vector<Use>& uses) {
    json.array();
    for (const Use& each : uses) {
        const Unit& unit = world.units()[each.unit];
        json.object().pair("name", unit.shown).pair("state", unit.word());
        json.pair("restarts", unit.number("restarts"));
        if (unit.pid() > 0) json.pair("pid", unit.pid());
        if (each.figures.known) {
            json.pair("processes", static_cast<int64_t>(each.figures.pids.size()));
            json.pair("memory_bytes", static_cast<int64_t>(each.figures.memory));
            json.key("memory_is_resident").boolean(each.figures.resident);
            json.key("cpu_seconds").seconds(each.figures.cpu);
            json.pair("cgroup", each.figures.cgroup);
        }
        json.end();
    }
    json.end();
}

// What is waited for between two looks.
class Loop {
  public:
    Loop(Bus& bus, const TopOptions& options) : bus_(bus), options_(options) {}
    Result<> run();

  private:
    // False: it is time to end.
    Result<bool> wait(uint64_t until, FullScreen* full);
    bool key(char letter);
    bool signalled(FullScreen* full);

    Bus& bus_;
    const TopOptions& options_;
    TopOrder order_ = TopOrder::cpu;
    bool changed_ = false; // services did
    bool redraw_ = false;
    std::unique_ptr<Signals> signals_;
};

bool Loop::key(char letter) {
    redraw_ = true;
    switch (letter) {
    case 'c':
    case 'P':
        order_ = TopOrder::cpu;
        break;
    case 'm':
    case 'M':
        order_ = TopOrder::memory;
        break;
    case 'r':
        order_ = TopOrder::restarts;
        break;
    case 'n':
        order_ = TopOrder::name;
        break;
    case 'q':
    case 'Q':
        return false;
    default:
        redraw_ = letter == ' ';
    }
    return true;
}

bool Loop::signalled(FullScreen* full) {
    signalfd_siginfo info;
    while (read(signals_->fd(), &info, sizeof info) == sizeof info) {
        if (info.ssi_signo == SIGWINCH) {
            redraw_ = true;
        } else if (info.ssi_signo == SIGTSTP) {
            if (full) full->leave();
            kill(getpid(), SIGSTOP);
            if (full) full->enter();
            redraw_ = true;
        } else {
            return false;
        }
    }
    return true;
}

Result<bool> Loop::wait(uint64_t until, FullScreen* full) {
    uint64_t begun = now_us();
    for (;;) {
        if (Result<> flushed = bus_.flush(); !flushed) return flushed.error();
        uint64_t now = now_us();
        uint64_t end = changed_ ? std::min(until, begun + least_delay) : until;
        if (redraw_ || now >= end) return true;
        pollfd fds[3] = {{.fd = bus_.client().input_fd(), .events = POLLIN, .revents = 0},
                         {.fd = signals_ ? signals_->fd() : -1, .events = POLLIN, .revents = 0},
                         {.fd = full ? STDIN_FILENO : -1, .events = POLLIN, .revents = 0}};
        int timeout = static_cast<int>(std::min<uint64_t>((end - now) / 1'000 + 1, 1'000'000));
        if (poll(fds, 3, timeout) < 0 && errno != EINTR) return system_error("poll", errno);
        if (fds[0].revents) {
            Result<> received = bus_.receive();
            if (!received) return received.error();
        }
        if (fds[1].revents && !signalled(full)) return false;
        if (fds[2].revents) {
            char letter = 0;
            if (read(STDIN_FILENO, &letter, 1) <= 0 || !key(letter)) return false;
        }
    }
}

Result<> Loop::run() {
    Screen screen = Screen::of(STDOUT_FILENO);
    // What is to be seen so many times is to stay on the terminal.
    bool live = screen.terminal && !options_.json && options_.rounds == 0 && isatty(STDIN_FILENO);
    uint64_t rounds = options_.rounds;
    if (rounds == 0 && !live) rounds = 1;
    std::unique_ptr<FullScreen> full;
    Value any = pat::discard();
    auto changed = [this](View) { changed_ = true; };
    auto follower = Follower::start(bus_, {"status"}, pat::record("service", {any, any, any}),
                                    {.appeared = changed, .gone = changed, .message = {}});
    Uses all;
    for (uint64_t round = 1;; ++round) {
        Result<World> world = World::load(bus_);
        if (!world) return world.error();
        // After the first answer, so that what goes wrong before leaves the terminal alone.
        if (live && !full) {
            signals_ = std::make_unique<Signals>();
            full = std::make_unique<FullScreen>();
        } else if (!signals_ && rounds != 1) {
            signals_ = std::make_unique<Signals>();
        }
        changed_ = redraw_ = false;
        uint64_t now = now_us();
        std::vector<Use> uses = all.look(*world, now);
        sort_uses(uses, *world, order_);
        screen = Screen::of(STDOUT_FILENO);
        if (!live) screen.height = world->units().size() + 3;
        std::string text = live ? "\033[H" : "";
        if (options_.json) {
            Json json;
            write_json(json, *world, uses);
            text = json.text() + "\n";
        } else {
            std::vector<std::string> lines = top_lines(*world, uses, screen, order_);
            for (size_t i = 0; i < lines.size(); ++i)
                text += (live && i > 0 ? "\r\n" : "") + lines[i] + (live ? "\033[K" : "\n");
            if (live) text += "\033[J";
        }
        if (Result<> written = write_all(text); !written) return written;
        if (rounds != 0 && round >= rounds) return {};
        Result<bool> more = wait(now + options_.delay, full.get());
        if (!more) return more.error();
        if (!*more) return {};
        if (live || options_.json) continue;
        if (Result<> written = write_all("\n"); !written) return written;
    }
}

} // namespace

std::vector<Use> Uses::look(const World& world, uint64_t now) {
    std::vector<Use> uses;
    std::unordered_map<std::string, Before> after;
    for (size_t i = 0; i < world.units().size(); ++i) {
        const Unit& unit = world.units()[i];
        if (!unit.is_daemon()) continue;
        Use use{.unit = i, .figures = {}, .cpu = 0, .alive = 0};
        if (pid_t pid = unit.pid(); pid > 0) {
            use.figures = figures_of(pid);
            Process process = process_of(pid);
            if (process.pid != 0 && now > process.started) use.alive = now - process.started;
            uint64_t cpu = use.figures.cpu, span = use.alive;
            auto before = before_.find(unit.shown);
            if (before != before_.end() && before->second.pid == pid) {
                cpu -= std::min(cpu, before->second.cpu);
                span = now - before->second.time;
            }
            if (span > 0) use.cpu = 100.0 * static_cast<double>(cpu) / static_cast<double>(span);
            after[unit.shown] = {use.figures.cpu, now, pid};
        } else if (unit.is("stopped") || unit.is("complete")) {
            continue;
        }
        uses.push_back(std::move(use));
    }
    before_ = std::move(after);
    return uses;
}

void sort_uses(std::vector<Use>& uses, const World& world, TopOrder order) {
    // What they are ordered by otherwise is the name.
    std::stable_sort(uses.begin(), uses.end(), [&](const Use& a, const Use& b) {
        switch (order) {
        case TopOrder::cpu:
            return a.cpu > b.cpu;
        case TopOrder::memory:
            return a.figures.memory > b.figures.memory;
        case TopOrder::restarts:
            return world.units()[a.unit].number("restarts") >
                   world.units()[b.unit].number("restarts");
        case TopOrder::name:
            break;
        }
        return a.unit < b.unit;
    });
}

std::vector<std::string> top_lines(const World& world, const std::vector<Use>& uses,
                                   const Screen& screen, TopOrder order) {
    size_t running = 0, waiting = 0, failed = 0;
    for (const Unit& each : world.units()) {
        running += each.is("running");
        waiting += each.is("waiting") || each.is("starting");
        failed += each.is("failed");
    }
    uint64_t memory = 0;
    double cpu = 0;
    for (const Use& each : uses) {
        memory += each.figures.memory;
        cpu += each.cpu;
    }
    std::vector<std::string> lines;
    std::string totals = std::to_string(world.units().size()) +
                         " services: " + std::to_string(running) + " running, " +
                         std::to_string(waiting) + " on their way, " + std::to_string(failed) +
                         " failed; cpu " + number(cpu) + " %, memory " + size_text(memory);
    lines.push_back(screen.cut_end(totals, screen.width));

    // Behind the name: state 9, pid 7, processes 5, cpu 6, time 8, memory 8, restarts 8.
    constexpr size_t columns_behind = 9 + 8 + 6 + 7 + 9 + 10 + 9;
    size_t room = std::max<size_t>(screen.width - std::min(screen.width, columns_behind + 1), 12);
    size_t longest = 7;
    for (const Use& each : uses)
        longest = std::max(longest, columns(world.units()[each.unit].shown));
    room = std::min(room, longest);
    auto heading = [&](TopOrder of, std::string text) {
        return order == of ? screen.paint(Colour::bold, text) : screen.paint(Colour::dim, text);
    };
    lines.push_back(
        heading(TopOrder::name, padded("SERVICE", room)) + " " +
        screen.paint(Colour::dim, padded("STATE", 9) + right("PID", 8) + right("PROC", 6)) +
        heading(TopOrder::cpu, right("%CPU", 7)) + screen.paint(Colour::dim, right("TIME", 9)) +
        heading(TopOrder::memory, right("MEMORY", 10)) +
        heading(TopOrder::restarts, right("RESTARTS", 9)));
    for (const Use& each : uses) {
        if (lines.size() >= screen.height) break;
        const Unit& unit = world.units()[each.unit];
        bool known = each.figures.known;
        int64_t restarts = unit.number("restarts");
        std::string line = padded(screen.cut(unit.shown, room), room) + " ";
        line += screen.paint(colour_of(unit.word()), padded(unit.word(), 9));
        line += right(unit.pid() > 0 ? std::to_string(unit.pid()) : "", 8);
        line += right(known ? std::to_string(each.figures.pids.size()) : "", 6);
        line += right(known ? number(each.cpu) : "", 7);
        line += right(known ? short_duration(each.figures.cpu) : "", 9);
        line += right(known ? size_text(each.figures.memory) : "", 10);
        std::string times = right(std::to_string(restarts), 9);
        line += restarts > 0 ? screen.paint(Colour::yellow, times) : times;
        lines.push_back(std::move(line));
    }
    return lines;
}

int top(Bus& bus, const TopOptions& options) {
    Result<> done = Loop(bus, options).run(); // the terminal is back before anything is said
    if (done) return 0;
    if (!done.error().message.empty()) // else it is repeated (Bus::lost)
        std::fprintf(stderr, "muster: %s\n", done.error().message.c_str());
    return 1;
}

} // namespace muster::command
