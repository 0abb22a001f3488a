#include "netlink/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace muster::netlink {

std::optional<std::string> read_file(const std::string& path) {
    constexpr size_t limit = 1024 * 1024;
    // openat, since musl's open makes a second system call for O_CLOEXEC.
    const Fd fd(::openat(AT_FDCWD, path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd) return {};
    std::string text;
    char chunk[4096];
    while (text.size() < limit) {
        const ssize_t count = ::read(fd.get(), chunk, sizeof chunk);
        if (count == 0) break;
        if (count < 0) {
            if (errno == EINTR) continue;
            return {};
        }
        text.append(chunk, static_cast<size_t>(count));
        if (static_cast<size_t>(count) < sizeof chunk) break; // so it is with attributes
    }
    return text;
}

LineFile::LineFile(const std::string& path)
    : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}

bool LineFile::fill() {
    constexpr size_t piece = 16 * 1024;
    if (!fd_) return false;
    if (begin_ > 0) {
        std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
        end_ -= begin_;
        begin_ = 0;
    }
    if (buffer_.size() - end_ < piece / 2) buffer_.resize(buffer_.size() + piece);
    ssize_t count;
    do
        count = ::read(fd_.get(), buffer_.data() + end_, buffer_.size() - end_);
    while (count < 0 && errno == EINTR);
    if (count <= 0) {
        fd_.reset();
        return false;
    }
    end_ += static_cast<size_t>(count);
    return true;
}

bool LineFile::next(std::string_view& line) {
    size_t looked = 0;
    for (;;) {
        const char* const start = buffer_.data() + begin_;
        const size_t size = end_ - begin_;
        const void* feed =
            size == looked ? nullptr : std::memchr(start + looked, '\n', size - looked);
        if (feed) {
            line = {start, static_cast<size_t>(static_cast<const char*>(feed) - start)};
            begin_ += line.size() + 1;
            return true;
        }
        looked = size;
        if (fill()) continue;
        line = {buffer_.data() + begin_, end_ - begin_}; // the last one has no line feed
        begin_ = end_;
        return !line.empty();
    }
}

std::string_view take_word(std::string_view& line) {
    const size_t begin = line.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos) {
        line = {};
        return {};
    }
    line.remove_prefix(begin);
    const size_t end = std::min(line.find_first_of(" \t\r"), line.size());
    const std::string_view word = line.substr(0, end);
    line.remove_prefix(end);
    return word;
}

} // namespace muster::netlink
