#include "services/daemon/s6_folder.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <optional>

#include "init/base/fd.h"
#include "services/process/process.h"

namespace muster::services {

namespace {

constexpr uint64_t millisecond = 1'000'000;
constexpr uint64_t a_day = 86'400'000; // milliseconds

// The first line of a small file, without blanks around it; nothing if there is no such file.
Result<std::optional<std::string>> line_of(const std::string& path) {
    Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file && errno == ENOENT) return std::optional<std::string>();
    char text[256];
    ssize_t size = file ? ::read(file.get(), text, sizeof text) : -1;
    if (size < 0) return system_error(path, errno);
    std::string_view line(text, static_cast<size_t>(size));
    line = line.substr(0, line.find('\n'));
    size_t first = line.find_first_not_of(" \t\r");
    if (first == line.npos) return std::optional<std::string>("");
    return std::optional<std::string>(
        line.substr(first, line.find_last_not_of(" \t\r") - first + 1));
}

// A number in such a file, if it is there.
Result<std::optional<uint64_t>> number_of(const std::string& path, uint64_t most) {
    auto line = line_of(path);
    if (!line) return line.error();
    if (!*line) return std::optional<uint64_t>();
    uint64_t number = 0;
    bool good = !(*line)->empty() && (*line)->size() < 12;
    for (char c : **line) {
        good = good && c >= '0' && c <= '9';
        number = number * 10 + static_cast<uint64_t>(c - '0');
    }
    if (!good || number > most)
        return Error{path + ": " + **line + " is not a number from 0 to " + std::to_string(most)};
    return std::optional<uint64_t>(number);
}

bool executable(const std::string& path) { return ::access(path.c_str(), X_OK) == 0; }

std::string without_slashes(std::string path) {
    while (path.size() > 1 && path.back() == '/')
        path.pop_back();
    return path;
}

// -1: there is none.
Result<int> notification_fd(const std::string& folder) {
    std::string file = folder + "/notification-fd";
    auto number = number_of(file, 1023);
    if (!number) return number.error();
    if (!*number) return -1;
    if (**number < 3) return Error{file + ": it must be 3 or more"};
    return static_cast<int>(**number);
}

Result<> finish_timeout(const std::string& folder, uint64_t& time) {
    auto number = number_of(folder + "/timeout-finish", a_day);
    if (!number) return number.error();
    if (*number) time = **number * millisecond;
    return {};
}

} // namespace

Command s6_finish_command(const std::string& name, int wait_status, pid_t pid) {
    bool killed = WIFSIGNALED(wait_status);
    return {"./finish", std::to_string(killed ? 256 : WEXITSTATUS(wait_status)),
            std::to_string(killed ? WTERMSIG(wait_status) : 0), name, std::to_string(pid)};
}

Result<S6Folder> read_s6_folder(const std::string& path, DaemonSpec& spec) {
    S6Folder folder;
    folder.path = without_slashes(path);
    folder.name = folder.path.substr(folder.path.rfind('/') + 1);
    auto file = [&](const char* name) { return folder.path + "/" + name; };
    if (!executable(file("run"))) return system_error(file("run"), errno);
    folder.finish = executable(file("finish"));
    folder.down = ::access(file("down").c_str(), F_OK) == 0;
    folder.logger = executable(file("log/run"));
    spec.argv = {"./run", folder.name};
    spec.dir = folder.path;

    auto notify = notification_fd(folder.path);
    if (!notify) return notify.error();
    if (*notify >= 0) {
        spec.notify = *notify;
        spec.ready_on_start = false;
    }
    auto kill = number_of(file("timeout-kill"), a_day);
    if (!kill) return kill.error();
    if (*kill) spec.stop_timeout = (**kill == 0 ? a_day : **kill) * millisecond;
    if (auto finish = finish_timeout(folder.path, folder.finish_timeout); !finish)
        return finish.error();
    auto signal = line_of(file("down-signal"));
    if (!signal) return signal.error();
    if (*signal) {
        const std::string& name = **signal;
        bool number = !name.empty() && name.size() < 3 &&
                      name.find_first_not_of("0123456789") == std::string::npos;
        spec.stop_signal = number ? std::atoi(name.c_str()) : signal_number(name);
        if (spec.stop_signal < 1 || spec.stop_signal > 64)
            return Error{file("down-signal") + ": " + name + " is not the name of a signal"};
    }
    if (::access(file("flag-newpidns").c_str(), F_OK) == 0) {
        auto rare = std::make_shared<RareFields>(spec.more());
        rare->pid_namespace = true;
        spec.rare = std::move(rare);
    }
    return folder;
}

Result<S6LogFolder> read_s6_log_folder(const std::string& path) {
    S6LogFolder folder;
    folder.path = without_slashes(path) + "/log";
    size_t slash = folder.path.rfind('/', folder.path.size() - 5);
    folder.name = folder.path.substr(slash == std::string::npos ? 0 : slash + 1);
    folder.finish = executable(folder.path + "/finish");
    auto notification = notification_fd(folder.path);
    if (!notification) return notification.error();
    folder.notification = *notification;
    if (auto finish = finish_timeout(folder.path, folder.finish_timeout); !finish)
        return finish.error();
    return folder;
}

} // namespace muster::services
