#include "services/daemon/log_lines.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "init/preserves/utf8.h"

namespace muster::services {

namespace {

constexpr size_t read_size = 16'384;

} // namespace

std::string timestamp_now() {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    tm parts{};
    gmtime_r(&now.tv_sec, &parts);
    char text[64];
    std::snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%06ldZ", parts.tm_year + 1900,
                  parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                  now.tv_nsec / 1000);
    return text;
}

preserves::Value log_record(const preserves::Value& service, std::string_view stream,
                            std::string_view line, pid_t pid) {
    preserves::Value text =
        preserves::is_utf8(line)
            ? preserves::string(line)
            : preserves::byte_string({reinterpret_cast<const uint8_t*>(line.data()), line.size()});
    preserves::Value details =
        pid > 0
            ? preserves::dictionary({{"pid", preserves::integer(pid)},
                                     {"service", service},
                                     {"stream", preserves::symbol(stream)},
                                     {"line", text}})
            : preserves::dictionary(
                  {{"service", service}, {"stream", preserves::symbol(stream)}, {"line", text}});
    return preserves::record("log", {preserves::string(timestamp_now()), details});
}

void LineSplitter::take(std::string_view bytes, std::vector<std::string>& lines) {
    while (!bytes.empty()) {
        size_t end = bytes.find('\n');
        bool complete = end != std::string_view::npos;
        std::string_view part = bytes.substr(0, end);
        bytes.remove_prefix(complete ? end + 1 : bytes.size());
        rest_.append(part);
        while (rest_.size() > longest) {
            // Not within a character: back to where one begins.
            size_t cut = longest;
            while (cut > longest - 4 && (static_cast<unsigned char>(rest_[cut]) & 0xc0) == 0x80)
                --cut;
            lines.push_back(rest_.substr(0, cut));
            rest_.erase(0, cut);
        }
        if (complete) lines.push_back(std::exchange(rest_, {}));
    }
}

bool LineSplitter::finish(std::string& line) {
    line = std::exchange(rest_, {});
    return !line.empty();
}

LogLines::LogLines(dataspace::Engine& engine, EventLoop& loop, Ref<dataspace::Facet> facet,
                   dataspace::CapRef log, preserves::Value service, const std::string& name)
    : engine_(engine), loop_(loop), facet_(std::move(facet)), log_(std::move(log)),
      service_(std::move(service)), account_(engine_.accounts().open("log of " + name)) {
    account_->set_on_clear([this] {
        for (auto& stream : streams_)
            if (stream->fd && !stream->watch) (void)watch(*stream);
    });
}

LogLines::~LogLines() { account_->set_on_clear(nullptr); }

Result<> LogLines::add(Fd fd, std::string name) {
    ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
    auto stream = std::make_unique<Stream>();
    stream->fd = std::move(fd);
    stream->name = std::move(name);
    auto watched = watch(*stream);
    if (watched) streams_.push_back(std::move(stream));
    return watched;
}

Result<> LogLines::watch(Stream& stream) {
    auto watch = loop_.watch(stream.fd.get(), EPOLLIN, [this, s = &stream](uint32_t) {
        if (!read_some(*s)) {
            s->watch.cancel();
            s->fd.reset();
        }
        if (!account_->clear()) hold_back();
    });
    if (!watch) return watch.error();
    stream.watch = std::move(*watch);
    return {};
}

// Not want(0): a hang-up would still be reported, again and again.
void LogLines::hold_back() {
    for (auto& stream : streams_)
        stream->watch.cancel();
}

bool LogLines::read_some(Stream& stream) {
    char buffer[read_size];
    ssize_t size = ::read(stream.fd.get(), buffer, sizeof buffer);
    if (size < 0) return errno == EAGAIN || errno == EINTR;
    std::vector<std::string> lines;
    if (size > 0) {
        stream.splitter.take({buffer, static_cast<size_t>(size)}, lines);
    } else {
        std::string rest;
        if (stream.splitter.finish(rest)) lines.push_back(std::move(rest));
    }
    if (!lines.empty()) send(stream, std::move(lines));
    return size > 0;
}

void LogLines::send(const Stream& stream, std::vector<std::string> lines) {
    engine_.external(
        facet_,
        [log = log_, service = service_, pid = pid_, name = stream.name,
         lines = std::move(lines)](dataspace::Turn& turn) {
            for (const std::string& line : lines)
                turn.message(log, log_record(service, name, line, pid));
        },
        account_);
}

void LogLines::finish() {
    for (auto& stream : streams_) {
        if (!stream->fd) continue;
        stream->watch.cancel();
        // A pipe holds no more than this; somebody who escaped may still be writing.
        int capacity = ::fcntl(stream->fd.get(), F_GETPIPE_SZ);
        size_t rounds = static_cast<size_t>(capacity > 0 ? capacity : 65'536) / read_size + 1;
        bool open = true;
        while (open && rounds-- > 0)
            open = read_some(*stream);
        std::string rest;
        if (open && stream->splitter.finish(rest)) send(*stream, {std::move(rest)});
        stream->fd.reset();
    }
}

} // namespace muster::services
