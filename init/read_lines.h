// Lines of a file through a fixed buffer, for processes that allocate nothing. A line longer than
// the buffer is left out whole, never given in part.
#pragma once

#include <cstring>
#include <string_view>

#include <fcntl.h>
#include <unistd.h>

namespace muster::pid1 {

class LineReader {
  public:
    explicit LineReader(const char* path) : fd_(open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY)) {}
    LineReader(const LineReader&) = delete;
    LineReader& operator=(const LineReader&) = delete;
    ~LineReader() {
        if (fd_ >= 0) close(fd_);
    }

    bool opened() const { return fd_ >= 0; }

    // False at the end. `line` is valid until the next call.
    bool next(std::string_view& line) {
        bool skipping = false;
        for (;;) {
            if (void* end = std::memchr(buffer_ + begin_, '\n', size_ - begin_)) {
                std::size_t start = begin_;
                std::size_t stop = static_cast<std::size_t>(static_cast<char*>(end) - buffer_);
                begin_ = stop + 1;
                if (!skipping) {
                    line = {buffer_ + start, stop - start};
                    return true;
                }
                skipping = false;
                continue;
            }
            if (size_ - begin_ == sizeof buffer_) {
                skipping = true;
                begin_ = size_;
            }
            std::memmove(buffer_, buffer_ + begin_, size_ - begin_);
            size_ -= begin_;
            begin_ = 0;
            ssize_t got = fd_ < 0 ? 0 : read(fd_, buffer_ + size_, sizeof buffer_ - size_);
            if (got > 0) {
                size_ += static_cast<std::size_t>(got);
                continue;
            }
            line = {buffer_, size_};
            bool last = size_ > 0 && !skipping; // without its newline
            size_ = 0;
            return last;
        }
    }

  private:
    int fd_;
    char buffer_[8192];
    std::size_t begin_ = 0;
    std::size_t size_ = 0;
};

// The next word of `line` up to a blank, removed from it.
inline std::string_view next_word(std::string_view& line) {
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t'))
        line.remove_prefix(1);
    std::size_t end = line.find_first_of(" \t");
    std::string_view word = line.substr(0, end);
    line.remove_prefix(word.size());
    return word;
}

} // namespace muster::pid1
