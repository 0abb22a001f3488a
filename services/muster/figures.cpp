#include "services/muster/figures.h"

#include <dirent.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "init/base/event_loop.h"
#include "init/base/fd.h"
#include "services/muster/screen.h"
#include "services/process/cgroup.h"

namespace muster::command {

namespace {

// At most 64 KiB of it; false if it cannot be read.
bool slurp(const std::string& path, std::string& text) {
    Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return false;
    text.resize(65'536);
    size_t size = 0;
    while (size < text.size()) {
        ssize_t count = ::read(file.get(), text.data() + size, text.size() - size);
        if (count < 0) return false;
        if (count == 0) break;
        size += static_cast<size_t>(count);
    }
    text.resize(size);
    return true;
}

uint64_t number_in(std::string_view text) {
    return std::strtoull(std::string(text).c_str(), nullptr, 10);
}

// The number behind `key ` at the beginning of a line; false if there is none.
bool keyed(std::string_view text, std::string_view key, uint64_t& value) {
    for (size_t at = 0; at < text.size();) {
        size_t end = std::min(text.find('\n', at), text.size());
        std::string_view line = text.substr(at, end - at);
        if (line.starts_with(key) && line.size() > key.size() && line[key.size()] == ' ') {
            value = number_in(line.substr(key.size() + 1));
            return true;
        }
        at = end + 1;
    }
    return false;
}

// All processes in `folder` and below it.
std::vector<pid_t> processes_in(const std::string& folder) {
    std::vector<pid_t> pids;
    std::vector<std::string> folders{folder};
    for (size_t i = 0; i < folders.size() && i < 1'000; ++i) {
        std::string path = folders[i]; // the vector grows
        std::string text;
        if (slurp(path + "/cgroup.procs", text))
            for (size_t at = 0; at < text.size(); at = text.find('\n', at) + 1) {
                if (pid_t pid = static_cast<pid_t>(number_in(text.substr(at, 12))); pid > 0)
                    pids.push_back(pid);
                if (text.find('\n', at) == std::string::npos) break;
            }
        DIR* directory = opendir(path.c_str());
        if (!directory) continue;
        while (dirent* entry = readdir(directory))
            if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
                folders.push_back(path + "/" + entry->d_name);
        closedir(directory);
    }
    std::sort(pids.begin(), pids.end());
    return pids;
}

uint64_t tick() {
    static const long ticks = sysconf(_SC_CLK_TCK);
    return 1'000'000 / static_cast<uint64_t>(ticks > 0 ? ticks : 100);
}

int64_t clock_us(clockid_t clock) {
    timespec time{};
    clock_gettime(clock, &time);
    return time.tv_sec * 1'000'000 + time.tv_nsec / 1'000;
}

} // namespace

Process process_of(pid_t pid, const KernelFiles& files) {
    Process process;
    std::string folder = files.proc + "/" + std::to_string(pid);
    std::string stat;
    if (!slurp(folder + "/stat", stat)) return process;
    // The name is in parentheses and may have any of them.
    size_t open = stat.find('(');
    size_t close = stat.rfind(')');
    if (open == std::string::npos || close == std::string::npos || close < open) return process;
    process.pid = pid;
    process.command = "[" + stat.substr(open + 1, close - open - 1) + "]";
    std::vector<uint64_t> fields; // from field 3, the state
    for (size_t at = close + 1; at < stat.size();) {
        at = stat.find_first_not_of(' ', at);
        if (at == std::string::npos) break;
        size_t end = std::min(stat.find(' ', at), stat.size());
        fields.push_back(number_in(std::string_view(stat).substr(at, end - at)));
        at = end;
    }
    auto field = [&](size_t number) { return number - 3 < fields.size() ? fields[number - 3] : 0; };
    process.parent = static_cast<pid_t>(field(4));
    process.cpu = (field(14) + field(15) + field(16) + field(17)) * tick();
    process.memory = field(24) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
    // Since the kernel's start, sleep included.
    int64_t asleep = clock_us(CLOCK_BOOTTIME) - clock_us(CLOCK_MONOTONIC);
    int64_t started = static_cast<int64_t>(field(22) * tick()) - asleep;
    process.started = started > 0 ? static_cast<uint64_t>(started) : 0;
    std::string words;
    if (slurp(folder + "/cmdline", words) && !words.empty()) {
        while (!words.empty() && words.back() == '\0')
            words.pop_back();
        std::replace(words.begin(), words.end(), '\0', ' ');
        if (!words.empty()) process.command = words;
    }
    process.command = printable(process.command);
    return process;
}

namespace {

// Its control group, "/services/sshd"; empty if it has none.
std::string group_in(const std::string& groups) {
    for (size_t at = 0; at < groups.size();) {
        size_t end = std::min(groups.find('\n', at), groups.size());
        if (groups.compare(at, 3, "0::") == 0) return groups.substr(at + 3, end - at - 3);
        at = end + 1;
    }
    return "";
}

} // namespace

Figures figures_of(pid_t pid, const KernelFiles& files) {
    Figures figures;
    std::string groups;
    if (pid <= 0 || !slurp(files.proc + "/" + std::to_string(pid) + "/cgroup", groups))
        return figures;
    figures.known = true;
    figures.cgroup = group_in(groups);
    std::string folder;
    if (!files.cgroup2.empty()) {
        folder = files.cgroup2 + figures.cgroup;
    } else {
        std::string mounts;
        if (slurp(files.proc + "/self/mountinfo", mounts))
            folder = services::own_cgroup_path(groups, mounts);
    }
    // The group must be the service's own, not one that it shares with whoever started it.
    std::string others;
    pid_t parent = process_of(pid, files).parent;
    bool own = !folder.empty() && figures.cgroup.size() > 1 &&
               !(slurp(files.proc + "/" + std::to_string(parent) + "/cgroup", others) &&
                 group_in(others) == figures.cgroup);
    if (!own) figures.cgroup.clear();
    if (own) figures.pids = processes_in(folder);
    figures.whole = own && std::binary_search(figures.pids.begin(), figures.pids.end(), pid);
    if (!figures.whole) figures.pids = {pid};
    std::string text;
    bool memory = figures.whole && slurp(folder + "/memory.current", text);
    if (memory) figures.memory = number_in(text);
    bool cpu = figures.whole && slurp(folder + "/cpu.stat", text) &&
               keyed(text, "usage_usec", figures.cpu);
    figures.resident = !memory;
    if (memory && cpu) return figures;
    for (pid_t each : figures.pids) {
        Process process = process_of(each, files);
        if (!memory) figures.memory += process.memory;
        if (!cpu) figures.cpu += process.cpu;
    }
    return figures;
}

uint64_t now_us() { return monotonic_now() / 1'000; }

namespace {

// Microseconds since 1970, at a moment of CLOCK_MONOTONIC.
uint64_t realtime(uint64_t us) {
    return us + static_cast<uint64_t>(clock_us(CLOCK_REALTIME) - clock_us(CLOCK_MONOTONIC));
}

std::string formatted(uint64_t realtime_us, const char* pattern, bool utc) {
    time_t seconds = static_cast<time_t>(realtime_us / 1'000'000);
    tm parts{};
    if (utc)
        gmtime_r(&seconds, &parts);
    else
        localtime_r(&seconds, &parts);
    char text[40];
    text[strftime(text, sizeof text, pattern, &parts)] = 0;
    return text;
}

} // namespace

std::string time_of_day(uint64_t us) { return local_time(realtime(us)); }
std::string time_of_day_rfc3339(uint64_t us) {
    return formatted(realtime(us), "%Y-%m-%dT%H:%M:%SZ", true);
}
std::string local_time(uint64_t realtime_us) {
    return formatted(realtime_us, "%Y-%m-%d %H:%M:%S", false);
}

} // namespace muster::command
