#include "services/muster/join.h"

#include <limits.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace muster::command {

namespace {

constexpr size_t capacity = 65'536;

bool passing() { return errno == EAGAIN || errno == EINTR; }

// Writes what is taken at once, after poll(2) has said that there is room. The descriptors are left
// as they are, since others may share them.
ssize_t write_some(int fd, const char* data, size_t size) {
    ssize_t count = send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count >= 0 || errno != ENOTSOCK) return count;
    return write(fd, data, std::min<size_t>(size, PIPE_BUF)); // as much a pipe has room for
}

// One direction. It is open until its source has ended or nobody takes what it says.
struct Direction {
    int from;
    int to;
    std::vector<char> buffer{};
    size_t begin = 0;
    bool open = true;

    bool wants_input() const { return open && buffer.empty(); }
    bool wants_room() const { return open && !buffer.empty(); }

    void fill() {
        buffer.resize(capacity);
        ssize_t count = read(from, buffer.data(), capacity);
        bool wait = count < 0 && passing();
        buffer.resize(count > 0 ? static_cast<size_t>(count) : 0);
        begin = 0;
        open = count > 0 || wait; // nothing is left to be written: it was read when that was so
    }
    void drain() {
        ssize_t count = write_some(to, buffer.data() + begin, buffer.size() - begin);
        if (count < 0 && passing()) return;
        if (count < 0) {
            open = false;
            buffer.clear();
            return;
        }
        begin += static_cast<size_t>(count);
        if (begin == buffer.size()) buffer.clear();
    }
};

} // namespace

Result<> join(Ends first, Ends second) {
    Direction ways[2] = {{first.input, second.output}, {second.input, first.output}};
    while (ways[1].open) {
        pollfd fds[4];
        for (int i = 0; i < 2; ++i) {
            Direction& way = ways[i];
            fds[2 * i] = {.fd = way.wants_input() ? way.from : -1, .events = POLLIN, .revents = 0};
            fds[2 * i + 1] = {
                .fd = way.wants_room() ? way.to : -1, .events = POLLOUT, .revents = 0};
        }
        if (poll(fds, 4, -1) < 0) {
            if (errno == EINTR) continue;
            return system_error("poll", errno);
        }
        for (int i = 0; i < 2; ++i) {
            Direction& way = ways[i];
            if (fds[2 * i].revents) way.fill();
            if (fds[2 * i + 1].revents) way.drain();
        }
        if (!ways[0].open && ways[0].to >= 0) {
            shutdown(ways[0].to, SHUT_WR); // no socket: then there is nobody to tell
            ways[0].to = -1;
        }
    }
    return {};
}

} // namespace muster::command
