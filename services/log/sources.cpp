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

namespace muster::logs {

namespace {

constexpr int most_at_once = 64; // messages in a round of events
constexpr const char* severities[] = {"emerg",   "alert",  "crit", "err",
                                      "warning", "notice", "info", "debug"};
constexpr const char* facilities[] = {"kern",   "user",   "mail",   "daemon", "auth",     "syslog",
                                      "lpr",    "news",   "uucp",   "cron",   "authpriv", "ftp",
                                      "ntp",    "audit",  "alert",  "clock",  "local0",   "local1",
                                      "local2", "local3", "local4", "local5", "local6",   "local7"};

bool take_number(std::string_view& text, uint64_t& out) {
    size_t digits = 0;
    out = 0;
    while (digits < text.size() && digits < 18 && text[digits] >= '0' && text[digits] <= '9')
        out = out * 10 + static_cast<uint64_t>(text[digits++] - '0');
    text.remove_prefix(digits);
    return digits > 0;
}

bool take_char(std::string_view& text, char c) {
    if (text.empty() || text[0] != c) return false;
    text.remove_prefix(1);
    return true;
}

// "Oct 11 22:14:15 "
void skip_time(std::string_view& text) {
    if (text.size() < 16 || text[3] != ' ' || text[6] != ' ' || text[9] != ':' || text[12] != ':' ||
        text[15] != ' ')
        return;
    text.remove_prefix(16);
}

uint64_t clock_us(clockid_t clock) {
    timespec now{};
    ::clock_gettime(clock, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000 +
           static_cast<uint64_t>(now.tv_nsec) / 1000;
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.back() == '\n' || text.back() == '\0'))
        text.remove_suffix(1);
    return text;
}

} // namespace

std::string syslog_line(std::string_view datagram) {
    std::string_view text = trimmed(datagram);
    std::string_view whole = text;
    uint64_t priority = 13; // user.notice
    uint64_t number = 0;
    if (take_char(text, '<') && take_number(text, number) && take_char(text, '>') && number < 192)
        priority = number;
    else
        text = whole;
    skip_time(text);
    std::string line = facilities[priority / 8];
    line += '.';
    line += severities[priority % 8];
    line += ' ';
    line.append(text);
    return line;
}

bool parse_kernel_message(std::string_view record, KernelMessage& out) {
    uint64_t priority = 0;
    if (!take_number(record, priority) || !take_char(record, ',') ||
        !take_number(record, out.sequence) || !take_char(record, ',') ||
        !take_number(record, out.monotonic_us))
        return false;
    size_t begin = record.find(';');
    if (begin == std::string_view::npos) return false;
    record.remove_prefix(begin + 1);
    // Lines that begin with a space are about the message, for programs.
    std::string_view text = record.substr(0, record.find("\n "));
    out.line =
        priority / 8 == 0 || priority / 8 >= 24 ? "" : facilities[priority / 8] + std::string(".");
    out.line += severities[priority % 8];
    out.line += ' ';
    // The kernel writes what cannot be printed as \xNN, and so line feeds.
    text = trimmed(text);
    for (size_t i = 0; i < text.size(); ++i) {
        if (text.substr(i, 4) == "\\x0a") {
            out.line += '\n';
            i += 3;
        } else {
            out.line += text[i];
        }
    }
    return true;
}

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
