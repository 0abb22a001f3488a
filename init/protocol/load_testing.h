// The load that `bench-dataspace` puts on a server: connections that send packets made beforehand,
// and the servers themselves as processes. Nothing here knows which server it talks to.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "init/base/event_loop.h"
#include "init/base/fd.h"
#include "init/preserves/packed.h"
#include "init/preserves/text_reader.h"

namespace muster::load {

using preserves::Bytes;
using Packet = std::vector<uint8_t>;

[[noreturn]] inline void die(const std::string& what) {
    std::fprintf(stderr, "bench: %s\n", what.c_str());
    std::exit(1);
}

// The binary form of packets that are written as text, one behind the other.
inline Packet packets(const std::string& text) {
    Packet all;
    preserves::TextReader reader(text);
    Packet one;
    for (;;) {
        switch (reader.next_bytes(one)) {
        case preserves::TextReader::State::value:
            all.insert(all.end(), one.begin(), one.end());
            break;
        case preserves::TextReader::State::end:
            return all;
        default:
            die("bad packet: " + reader.problem() + " in " + text.substr(0, 200));
        }
    }
}

// `one` over and over, to at least `size` bytes.
inline Packet repeated(const Packet& one, size_t size = 65'536) {
    Packet all;
    while (all.size() < size)
        all.insert(all.end(), one.begin(), one.end());
    return all;
}

inline sockaddr_in loopback(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

// A socket that listens, on `port` or (0) on one that is free, which is put there.
inline Fd listening(uint16_t& port) {
    Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    int yes = 1;
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in address = loopback(port);
    socklen_t size = sizeof address;
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    if (bind(fd.get(), raw, size) != 0 || listen(fd.get(), 1024) != 0) die("cannot listen");
    getsockname(fd.get(), raw, &size);
    port = ntohs(address.sin_port);
    return fd;
}

// One connection. Blocking; `poll` decides when to read.
class Peer {
  public:
    // Connects and resolves the benchmark's dataspace, which is oid 1 from then on.
    explicit Peer(uint16_t port) : fd_(connected(port)) {
        if (!fd_) die("cannot connect");
        send(packets("[[0 <A <resolve <ref {oid: \"syndicate\" "
                     "sig: #x\"69ca300c1dbfa08fba692102dd82311a\"}> #:[0 0]> 1>]]"));
        next();
    }

    static Fd connected(uint16_t port) {
        Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        int yes = 1;
        setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        sockaddr_in address = loopback(port);
        if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
            return Fd();
        return fd;
    }

    int fd() const { return fd_.get(); }

    void send(const Packet& packet) {
        for (size_t sent = 0; sent < packet.size();) {
            ssize_t count = write(fd_.get(), packet.data() + sent, packet.size() - sent);
            if (count < 0) die("the server closed the connection");
            sent += static_cast<size_t>(count);
        }
    }

    // One read into the buffer. False if the server has closed.
    bool receive() {
        if (taken_ > 0) {
            buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<ptrdiff_t>(taken_));
            taken_ = 0;
        }
        const size_t before = buffer_.size();
        buffer_.resize(before + 262'144);
        ssize_t count = read(fd_.get(), buffer_.data() + before, 262'144);
        buffer_.resize(before + (count > 0 ? static_cast<size_t>(count) : 0));
        return count > 0;
    }

    // How many bytes have been received and not taken.
    size_t available() const { return buffer_.size() - taken_; }
    void drop(size_t count) { taken_ += count; }

    // Takes the next packet that is complete in the buffer; empty if there is none.
    Bytes take() {
        Bytes rest = Bytes(buffer_).subspan(taken_);
        preserves::Scan scan = preserves::scan(rest);
        if (scan.state == preserves::Scan::State::malformed) die("a malformed packet");
        if (scan.state == preserves::Scan::State::need_more) return {};
        taken_ += scan.size;
        return rest.first(scan.size);
    }

    // The next packet, waiting for it. A packet that is an error ends everything. Awake: without
    // ever sleeping, so that what the kernel needs to wake the caller does not count.
    enum class Wait { asleep, awake };
    Bytes next(Wait how = Wait::asleep) {
        for (;;) {
            Bytes packet = take();
            if (!packet.empty()) {
                if (packet[0] == preserves::tag::record) die("the server reports an error");
                return packet;
            }
            pollfd readable{fd_.get(), POLLIN, 0};
            while (how == Wait::awake && poll(&readable, 1, 0) == 0)
                sched_yield();
            if (!receive()) die("the server closed the connection");
        }
    }

    // Returns when the server has handled everything sent before; what came meanwhile is dropped.
    void sync() {
        send(packets("[[1 <S #:[0 999]>]]"));
        const Packet answer = packets("[[999 <M #t>]]");
        while (!std::ranges::equal(next(), answer)) {
        }
    }

  private:
    Fd fd_;
    Packet buffer_;
    size_t taken_ = 0;
};

// A server as a process of ours.
class Server {
  public:
    Server(std::string name, uint16_t port, const std::vector<std::string>& command)
        : name_(std::move(name)), port_(port) {
        start([&] {
            std::vector<char*> argv;
            for (const std::string& word : command)
                argv.push_back(const_cast<char*>(word.c_str()));
            argv.push_back(nullptr);
            int null = open("/dev/null", O_RDWR);
            dup2(null, 0);
            dup2(null, 1);
            if (!getenv("BENCH_VERBOSE")) dup2(null, 2);
            execv(argv[0], argv.data());
            _exit(127);
        });
        while (!Peer::connected(port)) {
            if (waitpid(pid_, nullptr, WNOHANG) == pid_) {
                pid_ = -1;
                die(command[0] + " ended at once");
            }
            usleep(1000);
        }
    }
    // A server that is a function of this program.
    Server(std::string name, uint16_t port, const std::function<void()>& body)
        : name_(std::move(name)), port_(port) {
        start(body);
    }
    ~Server() {
        if (pid_ <= 0) return;
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // Asks it to end, and waits until it has.
    void end() {
        kill(pid_, SIGTERM);
        waitpid(pid_, nullptr, 0);
        pid_ = -1;
    }

    const std::string& name() const { return name_; }
    uint16_t port() const { return port_; }

    // CPU time that it has used, in seconds.
    double cpu() const {
        clockid_t clock;
        timespec used{};
        if (clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &used) != 0)
            die(name_ + " is gone");
        return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
    }

    // Resident memory in KiB.
    double rss() const {
        std::string path = "/proc/" + std::to_string(pid_) + "/status";
        FILE* file = std::fopen(path.c_str(), "re");
        if (!file) die(name_ + " is gone");
        char line[256];
        double kib = 0;
        while (std::fgets(line, sizeof line, file))
            if (std::sscanf(line, "VmRSS: %lf", &kib) == 1) break;
        std::fclose(file);
        return kib;
    }

  private:
    void start(const std::function<void()>& body) {
        pid_ = fork();
        if (pid_ != 0) return;
        body();
        _exit(0);
    }

    std::string name_;
    uint16_t port_;
    pid_t pid_ = -1;
};

inline double seconds() { return 1e-9 * static_cast<double>(monotonic_now()); }

// Writes `load` over and over to `producer` and reads from `consumer`, which says by `consume` how
// much came, until `duration` is over. The time goes into `taken`, for rates.
inline void pump(Peer& producer, const Packet& load, Peer& consumer,
                 const std::function<void()>& consume, double duration, double& taken) {
    fcntl(producer.fd(), F_SETFL, fcntl(producer.fd(), F_GETFL) | O_NONBLOCK);
    size_t at = 0;
    const double start = seconds();
    while ((taken = seconds() - start) < duration) {
        pollfd polled[] = {{producer.fd(), POLLOUT, 0}, {consumer.fd(), POLLIN, 0}};
        poll(polled, 2, 1000);
        if (polled[1].revents) {
            if (!consumer.receive()) die("the server closed the consumer's connection");
            consume();
        }
        if (!polled[0].revents) continue;
        ssize_t count = write(producer.fd(), load.data() + at, load.size() - at);
        if (count < 0 && errno != EAGAIN) die("the server closed the producer's connection");
        if (count > 0) at = (at + static_cast<size_t>(count)) % load.size();
    }
}

} // namespace muster::load
