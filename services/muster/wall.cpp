#include "services/muster/wall.h"

#include <dirent.h>
#include <fcntl.h>
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

// The terminal of a process as proc(5) has it, the seventh field of stat; 0: none.
unsigned terminal_of(const std::string& stat) {
    size_t after_name = stat.rfind(')');
    if (after_name == std::string::npos) return 0;
    char state = 0;
    int parent = 0, group = 0, session = 0, number = 0;
    if (std::sscanf(stat.c_str() + after_name + 1, " %c %d %d %d %d", &state, &parent, &group,
                    &session, &number) != 5)
        return 0;
    return static_cast<unsigned>(number);
}

std::string device_of(unsigned number) {
    unsigned major = number >> 8 & 0xfff;
    unsigned minor = (number & 0xff) | (number >> 12 & 0xfff00);
    if (major >= 136 && major <= 143)
        return "/dev/pts/" + std::to_string((major - 136) * 256 + minor);
    std::string facts = read_file("/sys/dev/char/" + std::to_string(major) + ":" +
                                  std::to_string(minor) + "/uevent");
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
        std::string stat = read_file(std::string("/proc/") + entry->d_name + "/stat");
        if (unsigned number = terminal_of(stat)) numbers.insert(number);
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
