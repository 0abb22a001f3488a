// release_file_systems of helpers.h.
#include <cerrno>
#include <cstdio>
#include <cstring>

#include <sys/mount.h>
#include <sys/swap.h>
#include <unistd.h>

#include "init/helpers.h"
#include "init/line.h"
#include "init/read_lines.h"

namespace muster::pid1 {

namespace {

// A word of /proc/self/mountinfo or /proc/swaps, with \040 and the like made characters again.
bool unescape(std::string_view word, char* field, std::size_t size) {
    std::size_t length = 0;
    for (std::size_t at = 0; at < word.size(); ++at) {
        if (length + 1 >= size) return false;
        char c = word[at];
        if (c == '\\' && at + 3 < word.size()) {
            c = static_cast<char>((word[at + 1] - '0') * 64 + (word[at + 2] - '0') * 8 +
                                  (word[at + 3] - '0'));
            at += 3;
        }
        field[length++] = c;
    }
    field[length] = 0;
    return true;
}

void swap_off() {
    LineReader lines("/proc/swaps");
    std::string_view line;
    char path[4096];
    while (lines.next(line)) {
        std::string_view word = next_word(line);
        if (word.starts_with('/') && unescape(word, path, sizeof path)) swapoff(path);
    }
}

bool below(std::string_view path, std::string_view root) {
    return path.starts_with(root) && (path.size() == root.size() || path[root.size()] == '/');
}

// Mount points in the order of mounting, to be gone through from the end.
struct Mounts {
    static constexpr std::size_t kMany = 4096;
    char text[256 * 1024];
    std::size_t used = 0;
    const char* paths[kMany];
    bool device[kMany]; // on a device: data would be lost
    std::size_t count = 0;
};

// The fields of a line (proc(5)): id parent major:minor root TARGET options … - TYPE SOURCE …
void read_mounts(Mounts& mounts) {
    mounts.used = 0;
    mounts.count = 0;
    LineReader lines("/proc/self/mountinfo");
    std::string_view line;
    while (lines.next(line) && mounts.count < Mounts::kMany) {
        next_word(line);
        next_word(line);
        std::string_view device = next_word(line);
        next_word(line);
        std::string_view target = next_word(line);
        if (target.empty() || target == "/" || target == "/run" || below(target, "/proc") ||
            below(target, "/sys") || below(target, "/dev"))
            continue;
        char* place = mounts.text + mounts.used;
        if (!unescape(target, place, sizeof mounts.text - mounts.used)) return;
        mounts.used += std::strlen(place) + 1;
        mounts.paths[mounts.count] = place;
        mounts.device[mounts.count] = !device.starts_with("0:"); // 0: no block device
        ++mounts.count;
    }
}

} // namespace

int release_file_systems() {
    static Mounts mounts;
    sync();
    swap_off();
    // What is unmounted may free what lies below it: until a pass brings nothing.
    bool progress = true;
    while (progress) {
        progress = false;
        read_mounts(mounts);
        for (std::size_t left = mounts.count; left > 0; --left) {
            if (umount2(mounts.paths[left - 1], UMOUNT_NOFOLLOW) == 0) progress = true;
        }
    }
    int status = 0;
    for (std::size_t left = mounts.count; left > 0; --left) {
        const char* path = mounts.paths[left - 1];
        if (mount(nullptr, path, nullptr, MS_REMOUNT | MS_RDONLY, nullptr) == 0) continue;
        if (!mounts.device[left - 1]) continue;
        Line line("init: ", path, " is neither unmounted nor read-only: ", strerror(errno), "\n");
        ssize_t written = write(2, line.view().data(), line.view().size());
        static_cast<void>(written);
        status = 1;
    }
    mount(nullptr, "/", nullptr, MS_REMOUNT | MS_RDONLY, nullptr); // refused for an initramfs
    sync();
    return status;
}

} // namespace muster::pid1
