#include "services/daemon/log_lines.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "init/preserves/encoder.h"
#include "services/daemon/carried.h"
#include "services/log/files.h"
#include "services/tracker/service.h"

namespace muster::services {

namespace {

constexpr size_t read_size = logs::intake_size;
// Of what a process wrote, for the report of its failure.
constexpr size_t most_remembered = 1024 - sizeof(Ledger::Note); // bytes
constexpr size_t most_last_lines = 10;

preserves::Value record_at(std::string stamp, const preserves::Value& service,
                           std::string_view stream, std::string_view line, pid_t pid, bool filed) {
    preserves::Value text = text_value(line);
    preserves::Encoder out;
    out.begin_dictionary();
    auto entry = [&](std::string_view key, preserves::View value) {
        out.symbol(key);
        out.value(value);
    };
    if (pid > 0) entry("pid", preserves::integer(pid));
    entry("service", service);
    entry("stream", preserves::symbol(stream));
    entry("line", text);
    if (filed) entry("filed", preserves::boolean(true));
    out.end();
    return preserves::record("log", {preserves::string(stamp), *out.finish()});
}

// What of a process is said: whose it is, and lines, which end with their line feeds.
struct Said {
    dataspace::CapRef log;
    preserves::Value service;
    std::string stream;
    std::string lines;
    pid_t pid;
    uint64_t time_us; // when they were put into the journal; 0: they were not

    void operator()(dataspace::Turn& turn) const {
        std::string stamp = time_us ? logs::time_text(time_us) : timestamp_now();
        for (size_t at = 0; at < lines.size();) {
            size_t end = lines.find('\n', at);
            std::string_view line = std::string_view(lines).substr(at, end - at);
            turn.message(log, record_at(stamp, service, stream, line, pid, time_us != 0));
            at = end + 1;
        }
    }
};

} // namespace

std::string timestamp_now() { return logs::time_text(logs::realtime_us()); }

preserves::Value log_record(const preserves::Value& service, std::string_view stream,
                            std::string_view line, pid_t pid) {
    return record_at(timestamp_now(), service, stream, line, pid, false);
}

LogLines::LogLines(dataspace::Engine& engine, EventLoop& loop, Ref<dataspace::Facet> facet,
                   dataspace::CapRef log, preserves::Value service, const std::string& name,
                   logs::Journal* journal, logs::Rotation rotation)
    : engine_(engine), loop_(loop), facet_(std::move(facet)), log_(std::move(log)),
      service_(std::move(service)), journal_(journal), rotation_(rotation),
      account_(engine_.accounts().open("log of " + name)) {
    account_->set_on_clear([this] { watch_all(); });
    if (!journal_) return;
    name_ = display_name(service_);
    counted_ = name_ != logs::writer_name;
    if (counted_) journal_->stream_opened(1);
    share_ = std::make_unique<logs::Journal::Share>(*journal_, [this] { watch_all(); });
}

LogLines::~LogLines() {
    account_->set_on_clear(nullptr);
    if (counted_) journal_->stream_opened(-1);
}

Result<> LogLines::add(Fd fd, const char* name) {
    ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
    auto stream = std::make_unique<Stream>();
    stream->fd = std::move(fd);
    stream->name = name;
    find_rest(*stream);
    Result<> watched;
    if (stream->fd) watched = watch(*stream);
    if (watched) streams_.push_back(std::move(stream));
    return watched;
}

void LogLines::set_pid(pid_t pid) {
    pid_ = pid;
    for (auto& stream : streams_)
        find_rest(*stream);
}

void LogLines::find_rest(Stream& stream) {
    if (!journal_ || pid_ == 0) return;
    if (journal_->took_left(pid_, stream.name)) {
        stream.watch.cancel();
        stream.fd.reset();
        stream.ended = true;
    } else {
        (void)journal_->resume(pid_, stream.name, stream.partial, stream.rest);
    }
}

void LogLines::watch_all() {
    for (auto& stream : streams_)
        if (stream->fd && !stream->ended && !stream->watch) (void)watch(*stream);
}

Result<> LogLines::watch(Stream& stream) {
    auto watch = loop_.watch(stream.fd.get(), EPOLLIN, [this, s = &stream](uint32_t) {
        if (!account_->clear() || (share_ && !share_->may_read())) return hold_back();
        std::string lines;
        (void)read_some(*s, lines);
        if (s->ended) {
            s->watch.cancel();
            s->fd.reset();
        }
        if (!lines.empty()) send(*s, std::move(lines));
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

bool LogLines::read_some(Stream& stream, std::string& lines) {
    char own[read_size];
    char* buffer = own;
    if (journal_)
        buffer =
            journal_->buffer(logs::Source(name_, stream.name, pid_, rotation_), stream.partial);
    ssize_t size = ::read(stream.fd.get(), buffer, read_size);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (size <= 0) {
        stream.ended = true;
        take_rest(stream, lines);
        return false;
    }
    std::string text;
    if (journal_)
        stream.time_us =
            journal_->take(*share_, stream.partial, stream.rest, static_cast<size_t>(size), &text);
    else
        logs::split_lines(stream.rest, {buffer, static_cast<size_t>(size)}, text);
    remember(text);
    lines += text;
    return true;
}

// A line that its writer did not complete, and will not.
void LogLines::take_rest(Stream& stream, std::string& lines) {
    if (stream.rest.empty()) return;
    std::string rest = stream.rest;
    stream.time_us = logs::realtime_us();
    if (journal_)
        journal_->finish(logs::Source(name_, stream.name, pid_, rotation_), stream.partial,
                         stream.rest, stream.time_us);
    stream.rest.clear();
    rest += '\n';
    remember(rest);
    lines += rest;
}

void LogLines::remember(std::string_view lines) {
    if (lines.empty()) return;
    std::string last =
        entry_ ? std::string(entry_->note(Ledger::NoteKind::lines)) : std::move(last_);
    last.append(lines.substr(lines.size() - std::min(lines.size(), most_remembered)));
    if (last.size() > most_remembered) {
        last.erase(0, last.size() - most_remembered);
        last.erase(0, last.find('\n') + 1);
    }
    if (entry_)
        entry_->set_note(Ledger::NoteKind::lines, last);
    else
        last_ = std::move(last);
}

std::vector<std::string> LogLines::last_lines() const {
    std::vector<std::string> lines;
    std::string_view last = entry_ ? entry_->note(Ledger::NoteKind::lines) : last_;
    for (size_t at = 0; at < last.size();) {
        size_t end = std::min(last.find('\n', at), last.size());
        lines.emplace_back(last.substr(at, end - at));
        at = end + 1;
    }
    if (lines.size() > most_last_lines)
        lines.erase(lines.begin(), lines.end() - static_cast<long>(most_last_lines));
    return lines;
}

void LogLines::send(const Stream& stream, std::string lines) {
    engine_.external(
        facet_,
        Said{log_, service_, stream.name, std::move(lines), pid_, journal_ ? stream.time_us : 0},
        account_);
}

// Whether all has been read that was there at first: somebody who escaped may still be writing.
bool LogLines::is_over(const Stream& stream, size_t reads) const {
    if (reads == 0) return false; // most have nothing in them
    int capacity = ::fcntl(stream.fd.get(), F_GETPIPE_SZ);
    return reads > static_cast<size_t>(capacity > 0 ? capacity : 65'536) / read_size;
}

void LogLines::drain(dataspace::Turn& turn) {
    for (auto& stream : streams_) {
        if (!stream->fd) continue;
        std::string lines;
        for (size_t done = 0; !share_ || share_->may_read(true); ++done)
            if (is_over(*stream, done) || !read_some(*stream, lines)) break;
        if (stream->ended) {
            stream->watch.cancel();
            stream->fd.reset();
        }
        uint64_t time_us = journal_ ? stream->time_us : 0;
        Said{log_, service_, stream->name, std::move(lines), pid_, time_us}(turn);
    }
}

void LogLines::finish() {
    for (auto& stream : streams_) {
        if (!stream->fd) continue;
        stream->watch.cancel();
        std::string lines;
        bool room = true;
        for (size_t done = 0; !is_over(*stream, done); ++done) {
            room = !share_ || share_->may_read(true);
            if (!room || !read_some(*stream, lines)) break;
        }
        if (room)
            take_rest(*stream, lines);
        else
            journal_->leave(logs::Source(name_, stream->name, pid_, rotation_),
                            std::move(stream->fd), stream->partial, std::move(stream->rest));
        if (!lines.empty()) send(*stream, std::move(lines));
        stream->fd.reset();
    }
}

} // namespace muster::services
