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

Sources::Intake::Intake(Sources& owner, const char* of, void (Sources::*read)())
    : name(of), account(owner.engine_.accounts().open("log of " + std::string(of))),
      share(owner.journal_, [this] { go_on(); }), owner_(owner), read_(read) {
    account->set_on_clear([this] { go_on(); });
}

Sources::Intake::~Intake() { account->set_on_clear(nullptr); }

Result<> Sources::Intake::watch() {
    auto watch = owner_.loop_.watch(fd.get(), EPOLLIN, [this](uint32_t) { (owner_.*read_)(); });
    if (!watch) return watch.error();
    watch_ = std::move(*watch);
    return {};
}

void Sources::Intake::go_on() {
    if (fd && !watch_) (void)watch();
}

Sources::Sources(dataspace::Engine& engine, EventLoop& loop, Ref<dataspace::Facet> facet,
                 dataspace::CapRef log, Journal& journal)
    : engine_(engine), loop_(loop), facet_(std::move(facet)), log_(std::move(log)),
      journal_(journal), kernel_(*this, "kernel", &Sources::read_kernel),
      syslog_(*this, "syslog", &Sources::read_syslog) {}

Result<> Sources::take_kernel(const char* path) {
    kernel_.fd = Fd(::open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (!kernel_.fd) return system_error(path, errno);
    return kernel_.watch();
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
    syslog_.fd = std::move(socket);
    return syslog_.watch();
}

void Sources::read_kernel() {
    char record[8192];
    for (int i = 0; i < most_at_once; ++i) {
        if (!kernel_.may_read()) return kernel_.hold();
        ssize_t size = ::read(kernel_.fd.get(), record, sizeof record);
        if (size < 0 && errno == EPIPE) continue; // some were overwritten: the numbers have a gap
        if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (size <= 0) {
            kernel_.hold();
            kernel_.fd.reset();
            return;
        }
        KernelMessage message;
        if (!parse_kernel_message({record, static_cast<size_t>(size)}, message)) continue;
        std::atomic<uint64_t>& next = journal_.shared().kernel_sequence;
        uint64_t expected = next.load();
        if (message.sequence < expected) continue; // a second stage before us had it
        uint64_t ago = clock_us(CLOCK_MONOTONIC) - message.monotonic_us;
        uint64_t time_us = realtime_us() - ago;
        if (message.sequence > expected && expected > 0)
            journal_.put(Source("kernel", "kernel", 0),
                         "err " + std::to_string(message.sequence - expected) +
                             " messages before this were overwritten",
                         time_us);
        put(kernel_, 0, time_us, message.line);
        next.store(message.sequence + 1);
    }
}

void Sources::read_syslog() {
    for (int i = 0; i < most_at_once; ++i) {
        if (!syslog_.may_read()) return syslog_.hold();
        // Straight into shared memory: if we are killed now, a successor still has it.
        char* bytes = journal_.buffer(Source("syslog", "syslog", 0), no_partial);
        iovec part{bytes, longest_line};
        alignas(cmsghdr) char control[CMSG_SPACE(sizeof(ucred))];
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        ssize_t size = ::recvmsg(syslog_.fd.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (size < 0) return;
        int32_t pid = 0;
        for (cmsghdr* each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each)) {
            if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_CREDENTIALS) continue;
            ucred sender;
            std::memcpy(&sender, CMSG_DATA(each), sizeof sender);
            pid = sender.pid;
        }
        put(syslog_, pid, realtime_us(), syslog_line({bytes, static_cast<size_t>(size)}));
        journal_.taken(static_cast<size_t>(size));
    }
}

void Sources::put(Intake& from, int32_t pid, uint64_t time_us, const std::string& line) {
    journal_.put(from.share, Source(from.name, from.name, pid), line, time_us);
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
    out.symbol(from.name);
    out.symbol("stream");
    out.symbol(from.name);
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
        from.account);
}

} // namespace muster::logs
