#include "services/log/writer.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace muster::logs {

namespace {

constexpr size_t most_open = 64; // files
constexpr uint64_t retry_us = 5'000'000;

// For the signal handler, which has no other way to the ring.
std::atomic<bool> term_came{false};
std::atomic<std::atomic<uint32_t>*> word_to_change{nullptr};

void on_term(int) {
    term_came.store(true);
    if (auto* word = word_to_change.load()) word->fetch_add(1);
}

Result<> make_folder(const std::string& path) {
    for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
        std::string part = path.substr(0, slash);
        mode_t mode = slash == std::string::npos ? 0750 : 0755;
        if (::mkdir(part.c_str(), mode) < 0 && errno != EEXIST && errno != EROFS)
            return system_error(part, errno);
        if (slash == std::string::npos) break;
    }
    return ::access(path.c_str(), W_OK) < 0 ? Result<>(system_error(path, errno)) : Result<>();
}

Result<> write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        ssize_t size = ::write(fd, text.data(), text.size());
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return system_error("write", errno);
        if (size == 0) return system_error("write", ENOSPC);
        text.remove_prefix(static_cast<size_t>(size));
    }
    return {};
}

uint64_t monotonic_us() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000 +
           static_cast<uint64_t>(now.tv_nsec) / 1000;
}

const Source writer_source("log-writer", "supervisor", 0);

} // namespace

Result<Writer> Writer::open(const std::string& ring_folder, std::string folder) {
    auto ring = Ring::open(ring_folder, Ring::For::writing);
    if (!ring) return ring.error();
    Writer writer(std::move(*ring), std::move(folder));
    writer.prepare();
    return writer;
}

// What cannot be now may be later: a folder may be mounted.
void Writer::prepare() {
    Result<> made = make_folder(folder_);
    if (made) {
        directory_ = Fd(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!directory_) made = system_error(folder_, errno);
    }
    if (directory_) cut_off_batch();
    uint32_t wants = directory_ ? 1 : 0;
    if (ring_.shared().wants_to_write.exchange(wants) != wants || wants) ring_.wake_reader();
    if (made || made.error().message == said_) return;
    said_ = made.error().message;
    std::fprintf(stderr, "%s; the newest lines are kept in memory\n", said_.c_str());
}

void Writer::cut_off_batch() {
    Shared& shared = ring_.shared();
    const Batch& batch = shared.batch;
    std::string name(batch.file, ::strnlen(batch.file, sizeof batch.file));
    bool current = batch.active.load() && batch.position == shared.tail.load();
    if (current && !name.empty() && name.find('/') == std::string::npos) {
        Fd fd(::openat(directory_.get(), name.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
        struct stat info {};
        if (fd && ::fstat(fd.get(), &info) == 0 && info.st_ino == batch.inode &&
            static_cast<uint64_t>(info.st_size) > batch.offset)
            (void)!::ftruncate(fd.get(), static_cast<off_t>(batch.offset));
    }
    shared.batch.active.store(0);
}

Result<Writer::File*> Writer::file(const std::string& name) {
    auto found = files_.find(name);
    if (found != files_.end()) return &found->second;
    if (files_.size() >= most_open) {
        auto oldest =
            std::min_element(files_.begin(), files_.end(), [](const auto& a, const auto& b) {
                return a.second.used < b.second.used;
            });
        files_.erase(oldest);
    }
    File file;
    file.fd = Fd(::openat(directory_.get(), name.c_str(),
                          O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640));
    if (!file.fd) return system_error(name, errno);
    struct stat info {};
    if (::fstat(file.fd.get(), &info) < 0) return system_error(name, errno);
    file.size = static_cast<uint64_t>(info.st_size);
    file.inode = info.st_ino;
    if (auto repaired = repair(file); !repaired) return repaired.error().with_context(name);
    return &(files_[name] = std::move(file));
}

// After a loss of power the end may be half a line, or zeros that were never written.
Result<> Writer::repair(File& file) {
    char text[512];
    ssize_t first = ::pread(file.fd.get(), text, 64, 0);
    std::string_view begin(text, first > 0 ? static_cast<size_t>(first) : 0);
    auto time = parse_time(begin.substr(0, begin.find(' ')));
    file.begun_us = time ? *time : realtime_us();
    bool cut = false, half = false;
    while (file.size > 0) {
        size_t wanted = static_cast<size_t>(std::min<uint64_t>(file.size, sizeof text));
        ssize_t size = ::pread(file.fd.get(), text, wanted, static_cast<off_t>(file.size - wanted));
        if (size != static_cast<ssize_t>(wanted)) return system_error("read", errno);
        size_t kept = wanted;
        while (kept > 0 && text[kept - 1] == '\0')
            --kept;
        cut = cut || kept < wanted;
        file.size -= wanted - kept;
        if (kept == 0) continue;
        half = text[kept - 1] != '\n';
        break;
    }
    if (!cut && !half) return {};
    if (::ftruncate(file.fd.get(), static_cast<off_t>(file.size)) < 0)
        return system_error("truncate", errno);
    std::string mark = half ? "\n" : "";
    append_line(mark, realtime_us(), writer_source, "what was written last before this was lost");
    if (auto written = write_all(file.fd.get(), mark); !written) return written;
    file.size += mark.size();
    return {};
}

Result<> Writer::rotate(const std::string& name, const Rotation& rotation) {
    auto all = log_files(folder_);
    if (!all) return all.error();
    uint32_t number = 0;
    const std::string service = [&] {
        uint32_t ignored;
        return service_of(name, ignored);
    }();
    for (const LogFile& each : *all)
        if (each.service == service) number = std::max(number, each.number);
    ::fdatasync(files_[name].fd.get());
    files_.erase(name);
    std::string old = name + "." + std::to_string(++number);
    if (::renameat(directory_.get(), name.c_str(), directory_.get(), old.c_str()) < 0)
        return system_error("rename " + name, errno);
    ::fsync(directory_.get());
    for (const LogFile& each : *all)
        if (each.service == service && each.number > 0 && each.number + rotation.number <= number)
            ::unlinkat(directory_.get(), each.name.c_str(), 0);
    return {};
}

Result<> Writer::write(const Ring::Lines& lines) {
    const Rotation rotation = with_defaults(lines.source.rotation);
    const std::string name = file_of(lines.source.name());
    out_.clear();
    if (auto missed = missed_.find(name); missed != missed_.end())
        append_line(out_, lines.time_us, writer_source,
                    std::to_string(missed->second) + " lines could not be written before this");
    std::string_view text = lines.text;
    while (!text.empty()) {
        size_t end = text.find('\n');
        append_line(out_, lines.time_us, lines.source, text.substr(0, end));
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    auto opened = file(name);
    if (!opened) return opened.error();
    File* file = *opened;
    uint64_t age_us = uint64_t(rotation.age_hours) * 3600 * 1'000'000;
    bool large = file->size + out_.size() > uint64_t(rotation.size_kib) * 1024;
    bool old = lines.time_us > file->begun_us && lines.time_us - file->begun_us > age_us;
    if (file->size > 0 && (large || old)) {
        if (auto rotated = rotate(name, rotation); !rotated) return rotated;
        opened = this->file(name);
        if (!opened) return opened.error();
        file = *opened;
    }
    if (file->size == 0) file->begun_us = lines.time_us;
    file->used = ++blocks_;
    Batch& batch = ring_.shared().batch;
    batch.active.store(0);
    batch.offset = file->size;
    batch.inode = file->inode;
    batch.position = lines.at;
    std::snprintf(batch.file, sizeof batch.file, "%s", name.c_str());
    batch.active.store(1);
    if (auto written = write_all(file->fd.get(), out_); !written) {
        // Nothing rather than half of it.
        (void)!::ftruncate(file->fd.get(), static_cast<off_t>(file->size));
        batch.active.store(0);
        return written.error().with_context(name);
    }
    file->size += out_.size();
    missed_.erase(name);
    said_.clear();
    return {};
}

void Writer::failed(const Error& error, const Ring::Lines& lines) {
    auto count = std::count(lines.text.begin(), lines.text.end(), '\n');
    missed_[file_of(lines.source.name())] += static_cast<uint64_t>(count);
    if (error.message == said_) return;
    said_ = error.message;
    std::fprintf(stderr, "%s/%s\n", folder_.c_str(), said_.c_str());
}

bool Writer::work() {
    Shared& shared = ring_.shared();
    if (!directory_) {
        uint64_t now = monotonic_us();
        if (now - tried_us_ < retry_us) return false;
        tried_us_ = now;
        prepare();
    }
    if (!shared.writing.load()) return false;
    bool any = false;
    while (shared.tail.load() != shared.head.load()) {
        any = true;
        auto lines = ring_.block_at(shared.tail.load());
        if (!lines) {
            std::fprintf(stderr, "%s: what was in it is lost\n", lines.error().message.c_str());
            ring_.written(shared.head.load());
            break;
        }
        if (!lines->text.empty() && !lines->source.rotation.none)
            if (auto written = write(*lines); !written) failed(written.error(), *lines);
        ring_.written(lines->end);
    }
    return any;
}

void Writer::sync() {
    for (auto& [name, file] : files_)
        ::fdatasync(file.fd.get());
}

int Writer::run() {
    Shared& shared = ring_.shared();
    word_to_change.store(&shared.word);
    struct sigaction action {};
    action.sa_handler = on_term;
    ::sigaction(SIGTERM, &action, nullptr);
    ::signal(SIGINT, SIG_IGN);
    while (true) {
        uint32_t seen = shared.word.load();
        if (work()) continue;
        // While the system goes down, those that are still there have something to say.
        if (term_came.load() && !(shared.ending.load() && shared.streams.load() > 0)) break;
        ring_.sleep(seen);
    }
    // Who waits for room finds that nobody makes any, unless another writer comes.
    if (!shared.ending.load()) shared.wants_to_write.store(0);
    sync();
    return 0;
}

int log_writer(int argc, char** argv) {
    if (argc > 3) {
        std::fputs("usage: muster log-writer [FOLDER [RINGFOLDER]]\n", stderr);
        return 2;
    }
    auto writer =
        Writer::open(argc > 2 ? argv[2] : "/run/muster", argc > 1 ? argv[1] : usual_folder);
    if (!writer) {
        std::fprintf(stderr, "%s\n", writer.error().message.c_str());
        return 1;
    }
    return writer->run();
}

} // namespace muster::logs
