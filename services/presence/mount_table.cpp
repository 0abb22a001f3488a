#include "services/presence/mount_table.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace muster::services {

namespace {

// Spaces and the like are written as \040 (three octal digits).
std::string unescape(std::string_view text) {
    std::string out;
    for (size_t i = 0; i < text.size(); ++i) {
        auto digit = [&](size_t at) {
            return at < text.size() && text[at] >= '0' && text[at] <= '7' ? text[at] - '0' : -1;
        };
        int a = digit(i + 1), b = digit(i + 2), c = digit(i + 3);
        if (text[i] != '\\' || a < 0 || b < 0 || c < 0) {
            out += text[i];
            continue;
        }
        out += static_cast<char>(a * 64 + b * 8 + c);
        i += 3;
    }
    return out;
}

std::vector<std::string_view> words_of(std::string_view line) {
    std::vector<std::string_view> words;
    while (!line.empty()) {
        size_t space = line.find(' ');
        words.push_back(line.substr(0, space));
        if (space == std::string_view::npos) break;
        line.remove_prefix(space + 1);
    }
    return words;
}

bool has_option(std::string_view options, std::string_view option) {
    while (!options.empty()) {
        size_t comma = options.find(',');
        if (options.substr(0, comma) == option) return true;
        if (comma == std::string_view::npos) return false;
        options.remove_prefix(comma + 1);
    }
    return false;
}

} // namespace

// 36 35 98:0 /root /where rw,noatime shared:1 - ext3 /dev/source rw,errors=continue
Mounts parse_mounts(std::string_view mountinfo) {
    Mounts mounts;
    while (!mountinfo.empty()) {
        size_t end = mountinfo.find('\n');
        std::vector<std::string_view> words = words_of(mountinfo.substr(0, end));
        mountinfo.remove_prefix(end == std::string_view::npos ? mountinfo.size() : end + 1);
        size_t dash = 6;
        while (dash < words.size() && words[dash] != "-")
            ++dash;
        if (dash + 3 >= words.size()) continue;
        Mount mount;
        mount.root = unescape(words[3]);
        mount.type = unescape(words[dash + 1]);
        mount.source = unescape(words[dash + 2]);
        mount.read_only = has_option(words[5], "ro") || has_option(words[dash + 3], "ro");
        mounts[unescape(words[4])] = std::move(mount);
    }
    return mounts;
}

Result<Mounts> MountTable::read() {
    Fd file(open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
    if (!file) return system_error("/proc/self/mountinfo", errno);
    std::string text;
    char buffer[4096];
    for (;;) {
        ssize_t count = ::read(file.get(), buffer, sizeof buffer);
        if (count < 0) return system_error("/proc/self/mountinfo", errno);
        if (count == 0) return parse_mounts(text);
        text.append(buffer, static_cast<size_t>(count));
    }
}

Result<size_t> MountTable::subscribe(std::function<void()> changed) {
    if (!file_) {
        file_ = Fd(open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC));
        if (!file_) return system_error("/proc/self/mountinfo", errno);
        // Being polled is what ends the readiness.
        auto watch = loop_.watch(file_.get(), EPOLLPRI, [this](uint32_t) {
            Ref<MountTable> self(this);
            auto all = subscribers_;
            for (const auto& [number, subscriber] : all)
                if (subscribers_.count(number)) subscriber();
        });
        if (!watch) {
            file_.reset();
            return watch.error();
        }
        watch_ = *std::move(watch);
    }
    subscribers_[next_] = std::move(changed);
    return next_++;
}

void MountTable::unsubscribe(size_t number) {
    subscribers_.erase(number);
    if (!subscribers_.empty()) return;
    watch_.cancel();
    file_.reset();
}

} // namespace muster::services
