#include "services/muster/wall.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "init/base/fd.h"

namespace muster::command {

namespace {

std::string read_file(const std::string& path) {
    Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    char text[1024];
    ssize_t size = file ? ::read(file.get(), text, sizeof text) : 0;
    return std::string(text, size > 0 ? static_cast<size_t>(size) : 0);
}

// The terminal of a session by its leader's stat of proc(5), whose fourth field is the session and
// whose fifth its terminal; 0: none, or not a leader.
unsigned terminal_of(const std::string& pid, const std::string& stat) {
    size_t after_name = stat.rfind(')');
    if (after_name == std::string::npos) return 0;
    char state = 0;
    int parent = 0, group = 0, session = 0, number = 0;
    if (std::sscanf(stat.c_str() + after_name + 1, " %c %d %d %d %d", &state, &parent, &group,
                    &session, &number) != 5 ||
        std::to_string(session) != pid)
        return 0;
    return static_cast<unsigned>(number);
}

// As proc(5) packs them.
unsigned major_of(unsigned number) { return number >> 8 & 0xfff; }
unsigned minor_of(unsigned number) { return (number & 0xff) | (number >> 12 & 0xfff00); }

// A service that opens a serial port for its data gets it as its terminal too, unless it takes
// care; only where somebody types it is standard input.
bool is_typed_at(const std::string& pid, unsigned number) {
    struct stat input {};
    if (::stat(("/proc/" + pid + "/fd/0").c_str(), &input) != 0 || !S_ISCHR(input.st_mode))
        return false;
    constexpr unsigned alternates = 5; // /dev/tty, /dev/console
    return major(input.st_rdev) == alternates ||
           (major(input.st_rdev) == major_of(number) && minor(input.st_rdev) == minor_of(number));
}

std::string device_of(unsigned number) {
    unsigned major_number = major_of(number), minor_number = minor_of(number);
    if (major_number >= 136 && major_number <= 143)
        return "/dev/pts/" + std::to_string((major_number - 136) * 256 + minor_number);
    std::string facts = read_file("/sys/dev/char/" + std::to_string(major_number) + ":" +
                                  std::to_string(minor_number) + "/uevent");
    size_t name = facts.find("DEVNAME=");
    if (name == std::string::npos) return {};
    name += 8;
    return "/dev/" + facts.substr(name, facts.find('\n', name) - name);
}

} // namespace

std::set<std::string> terminals_in_use() {
    std::set<std::string> paths;
    DIR* processes = ::opendir("/proc");
    if (processes == nullptr) return paths;
    std::set<unsigned> numbers;
    while (const dirent* entry = ::readdir(processes)) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
        std::string pid = entry->d_name;
        unsigned number = terminal_of(pid, read_file("/proc/" + pid + "/stat"));
        if (number != 0 && is_typed_at(pid, number)) numbers.insert(number);
    }
    ::closedir(processes);
    for (unsigned number : numbers)
        if (std::string path = device_of(number); !path.empty()) paths.insert(path);
    return paths;
}

void write_to_terminal(const std::string& path, const std::string& text) {
    Fd terminal(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!terminal) return;
    ssize_t written = ::write(terminal.get(), text.data(), text.size());
    static_cast<void>(written);
}

void write_to_all(const std::string& text) {
    for (const std::string& path : terminals_in_use())
        write_to_terminal(path, text);
}

} // namespace muster::command
