// What `init --exec` was told to do, and the parts that do it. Private to exec_*.cpp. Nothing here
// allocates; a step that fails ends the process.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace muster::pid1 {

struct Order {
    int error_fd = -1;
    char** words = nullptr; // the options: pairs
    int word_count = 0;
    char** program = nullptr;

    // The value of the last such option, or nullptr.
    const char* value(std::string_view option) const;
    bool has(std::string_view option) const { return value(option) != nullptr; }
    // Calls `each(value)` for every such option, in order.
    template <typename Each>
    void all(std::string_view option, Each each) const {
        for (int i = 0; i + 1 < word_count; i += 2)
            if (option == words[i]) each(words[i + 1]);
    }
};

// Says "STEPSUBJECT: text of `error`" and ends: 127 for a program that is not there, else 126.
[[noreturn]] void fail(const Order& order, std::string_view step, std::string_view subject,
                       int error);

bool number_of(std::string_view text, unsigned base, std::uint32_t& number);
// The next part up to `separator`, removed from `text`.
std::string_view next_part(std::string_view& text, char separator);

// Who the program is to be: looked up before the root changes, taken on after.
struct Identity {
    static constexpr std::size_t max_groups = 256;

    bool wanted = false;
    uid_t user = 0;
    gid_t group = 0;
    gid_t groups[max_groups] = {};
    std::size_t group_count = 0;
    // Of /etc/passwd; empty: unknown there.
    char name[256] = {};
    char home[256] = {};
    char shell[256] = {};
};

void find_identity(const Order& order, Identity& identity);
// Namespaces, mounts of its own, another root. The user namespace comes with the identity.
void isolate(const Order& order);

// A user namespace (user_namespaces(7)) in which root and the service's own user and group are
// themselves and everybody else is nobody. It is asked for with `--namespaces`.
class UserNamespace {
  public:
    // Before the root changes.
    explicit UserNamespace(const Order& order);
    bool wanted() const { return process_ >= 0; }
    // Becomes part of it, with all capabilities there and none outside. REQUIRES: wanted.
    void enter(const Order& order, const Identity& identity) const;

  private:
    int process_ = -1; // /proc/self
};

// User, groups, user namespace and capabilities.
void take_identity(const Order& order, const Identity& identity, const UserNamespace& users);

// Nice value, limits, score of the OOM killer.
void take_resources(const Order& order);
// Terminal and standard descriptors.
void take_streams(const Order& order);

// Files of variables, and what follows from who it is. Replaces `environ`.
void make_environment(const Order& order, const Identity& identity);

} // namespace muster::pid1
