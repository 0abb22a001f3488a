// The environment: files of NAME=VALUE lines, and who the program runs as.
//
// A line of a file: NAME=VALUE, perhaps with `export ` in front. The value may stand within '…' or
// "…"; blanks around it do not count. Lines that are empty or begin with # or ; are skipped.
#include <cerrno>
#include <cstring>

#include <unistd.h>

#include "init/exec_order.h"
#include "init/line.h"
#include "init/read_lines.h"

namespace muster::pid1 {

namespace {

// In static memory: this process becomes another one soon.
class Variables {
  public:
    void take(char** environment) {
        for (; *environment != nullptr && count_ + 1 < kMost; ++environment)
            entries_[count_++] = *environment;
    }
    char** entries() { return entries_; }

    bool has(std::string_view name) const { return find(name) < count_; }
    // False: no room.
    bool set(std::string_view name, std::string_view value) {
        std::size_t size = name.size() + value.size() + 2;
        if (size > sizeof text_ - used_) return false;
        char* entry = text_ + used_;
        used_ += size;
        name.copy(entry, name.size());
        entry[name.size()] = '=';
        value.copy(entry + name.size() + 1, value.size());
        entry[size - 1] = '\0';
        std::size_t at = find(name);
        if (at == count_ && ++count_ >= kMost) return false;
        entries_[at] = entry;
        return true;
    }

  private:
    std::size_t find(std::string_view name) const {
        std::size_t at = 0;
        for (; at < count_; ++at)
            if (std::strncmp(entries_[at], name.data(), name.size()) == 0 &&
                entries_[at][name.size()] == '=')
                break;
        return at;
    }

    static constexpr std::size_t kMost = 1024;
    char* entries_[kMost + 1];
    std::size_t count_;
    char text_[65'536];
    std::size_t used_;
};

Variables variables; // zeroed, and of no cost until it is used

std::string_view trimmed(std::string_view text) {
    constexpr std::string_view blanks = " \t\r";
    std::size_t first = text.find_first_not_of(blanks);
    if (first == text.npos) return {};
    return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

bool is_name(std::string_view text) {
    if (text.empty() || (text[0] >= '0' && text[0] <= '9')) return false;
    for (char c : text)
        if (c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z'))
            return false;
    return true;
}

void read_file(const Order& order, const char* path) {
    bool optional = *path == '-';
    if (optional) ++path;
    LineReader lines(path);
    if (!lines.opened()) {
        if (optional && errno == ENOENT) return;
        fail(order, "read ", path, errno);
    }
    std::string_view line;
    for (int number = 1; lines.next(line); ++number) {
        line = trimmed(line);
        if (line.empty() || line[0] == '#' || line[0] == ';') continue;
        if (line.starts_with("export ")) line = trimmed(line.substr(7));
        std::string_view name = trimmed(next_part(line, '='));
        std::string_view value = trimmed(line);
        bool quoted = !value.empty() && (value[0] == '"' || value[0] == '\'');
        bool good =
            is_name(name) && (!quoted || (value.size() >= 2 && value.back() == value.front()));
        if (quoted && good) value = value.substr(1, value.size() - 2);
        if (good && variables.set(name, value)) continue;
        Line where(path, ":", number);
        fail(order, good ? "keep variable of " : "understand line ", where.view(),
             good ? E2BIG : EINVAL);
    }
}

} // namespace

void make_environment(const Order& order, const Identity& identity) {
    bool user = order.has("--user") && identity.name[0] != '\0';
    if (!user && !order.has("--env-file")) return;
    variables.take(environ);
    order.all("--env-file", [&](const char* path) { read_file(order, path); });
    auto offer = [&](std::string_view name, std::string_view value) {
        if (!value.empty() && !variables.has(name) && !variables.set(name, value))
            fail(order, "keep variable ", name, E2BIG);
    };
    if (user) {
        offer("USER", identity.name);
        offer("LOGNAME", identity.name);
        offer("HOME", identity.home);
        offer("SHELL", identity.shell);
    }
    environ = variables.entries();
}

} // namespace muster::pid1
