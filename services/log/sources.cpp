#include "services/log/sources.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "init/preserves/encoder.h"
#include "init/preserves/utf8.h"
#include "services/log/files.h"
#include "services/log/records.h"

namespace muster::logs {

namespace {

constexpr int most_at_once = 64; // messages in a round of events

uint64_t clock_us(clockid_t clock) {
    timespec now{};
    ::clock_gettime(clock, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000 +
           static_cast<uint64_t>(now.tv_nsec) / 1000;
}

} // namespace

Sources::Sources(dataspace::Engine& engine, EventLoop& loop, Ref<dataspace::Facet> facet,
                 dataspace::CapRef log, Journal& journal)
    : engine_(engine), loop_(loop), facet_(std::move(facet)), log_(std::move(log)),
      journal_(journal), account_(engine_.accounts().open("log of the kernel and syslog")),
      share_(journal, [this] { watch_again(); }) {
    account_->set_on_clear([this] { watch_again(); });
}

Sources::~Sources() { account_->set_on_clear(nullptr); }

Result<> Sources::take_kernel(const char* path) {
    kernel_ = Fd(::open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (!kernel_) return system_error(path, errno);
    return watch_kernel();
}

Result<Fd> Sources::make_socket(const char* path) {
    Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!socket) return system_error("socket", errno);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (std::strlen(path) >= sizeof address.sun_path) return Error{"too long a path"};
    std::strcpy(address.sun_path, path);
    ::unlink(path);
    if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0)
        return system_error(path, errno);
    if (::chmod(path, 0666) < 0) return system_error(path, errno);
    return socket;
}

Result<> Sources::take_syslog(Fd socket) {
    int on = 1;
    if (::setsockopt(socket.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0)
        return system_error("SO_PASSCRED", errno);
    socket_ = std::move(socket);
    return watch_syslog();
}

Result<> Sources::watch_kernel() {
    auto watch = loop_.watch(kernel_.get(), EPOLLIN, [this](uint32_t) { read_kernel(); });
    if (!watch) return watch.error();
    kernel_watch_ = std::move(*watch);
    return {};
}

Result<> Sources::watch_syslog() {
    auto watch = loop_.watch(socket_.get(), EPOLLIN, [this](uint32_t) { read_syslog(); });
    if (!watch) return watch.error();
    socket_watch_ = std::move(*watch);
    return {};
}

void Sources::watch_again() {
    if (kernel_ && !kernel_watch_) (void)watch_kernel();
    if (socket_ && !socket_watch_) (void)watch_syslog();
}

void Sources::read_kernel() {
    char record[8192];
    for (int i = 0; i < most_at_once; ++i) {
        if (!account_->clear() || !share_.may_read()) return kernel_watch_.cancel();
        ssize_t size = ::read(kernel_.get(), record, sizeof record);
        if (size < 0 && errno == EPIPE) continue; // some were overwritten: the numbers have a gap
        if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (size <= 0) {
            kernel_watch_.cancel();
            kernel_.reset();
            return;
        }
        KernelMessage message;
        if (!parse_kernel_message({record, static_cast<size_t>(size)}, message)) continue;
        std::atomic<uint64_t>& next = journal_.shared().kernel_sequence;
        uint64_t expected = next.load();
        if (message.sequence < expected) continue; // a second stage before us had it
        uint64_t ago = clock_us(CLOCK_MONOTONIC) - message.monotonic_us;
        uint64_t time_us = realtime_us() - ago;
        Source source("kernel", "kernel", 0);
        if (message.sequence > expected && expected > 0)
            journal_.put(source,
                         "err " + std::to_string(message.sequence - expected) +
                             " messages before this were overwritten",
                         time_us);
        journal_.put(source, message.line, time_us);
        next.store(message.sequence + 1);
        send("kernel", 0, time_us, message.line);
    }
}

void Sources::read_syslog() {
    for (int i = 0; i < most_at_once; ++i) {
        if (!account_->clear() || !share_.may_read()) return socket_watch_.cancel();
        // Straight into shared memory: if we are killed now, a successor still has it.
        char* bytes = journal_.buffer(Source("syslog", "syslog", 0), no_partial);
        iovec part{bytes, longest_line};
        alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))];
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        ssize_t size = ::recvmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (size < 0) return;
        int32_t pid = 0;
        for (cmsghdr* each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each)) {
            if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_CREDENTIALS) continue;
            ucred sender;
            std::memcpy(&sender, CMSG_DATA(each), sizeof sender);
            pid = sender.pid;
        }
        std::string line = syslog_line({bytes, static_cast<size_t>(size)});
        uint64_t time_us = realtime_us();
        journal_.put(Source("syslog", "syslog", pid), line, time_us);
        journal_.taken(static_cast<size_t>(size));
        send("syslog", pid, time_us, line);
    }
}

void Sources::send(std::string_view service, int32_t pid, uint64_t time_us,
                   const std::string& line) {
    preserves::Encoder out;
    out.begin_record();
    out.symbol("log");
    out.string(time_text(time_us));
    out.begin_dictionary();
    if (pid > 0) {
        out.symbol("pid");
        out.integer(pid);
    }
    out.symbol("service");
    out.symbol(service);
    out.symbol("stream");
    out.symbol(service);
    out.symbol("line");
    if (preserves::is_utf8(line))
        out.string(line);
    else
        out.bytes({reinterpret_cast<const uint8_t*>(line.data()), line.size()});
    out.symbol("filed");
    out.boolean(true);
    out.end();
    out.end();
    engine_.external(
        facet_,
        [log = log_, entry = *out.finish()](dataspace::Turn& turn) { turn.message(log, entry); },
        account_);
}

} // namespace muster::logs
