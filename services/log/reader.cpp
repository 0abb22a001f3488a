#include "services/log/reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <map>
#include <memory>

#include "init/base/fd.h"

namespace muster::logs {

namespace {

// The lines of one service: those of its files, then those of the ring.
class Cursor {
  public:
    Cursor(std::string service, uint64_t since_us)
        : service_(std::move(service)), since_(since_us) {}

    void add_file(Fd file) { files_.push_back(std::move(file)); }
    void add_entry(Entry entry) {
        if (ring_.empty() || entry.time_us < ring_since_) ring_since_ = entry.time_us;
        ring_.push_back(std::move(entry));
    }

    // False at the end.
    bool next() {
        while (from_files()) {
            // What was in the ring when we looked may have been written since.
            if (!ring_.empty() && entry.time_us >= ring_since_) forget(entry);
            if (entry.time_us >= since_) return true;
        }
        while (at_ < ring_.size()) {
            entry = std::move(ring_[at_++]);
            if (entry.time_us >= since_) return true;
        }
        return false;
    }

    Entry entry;

  private:
    void forget(const Entry& seen) {
        auto same = [&](const Entry& e) {
            return e.time_us == seen.time_us && e.text == seen.text;
        };
        auto found = std::find_if(ring_.begin(), ring_.end(), same);
        if (found != ring_.end()) ring_.erase(found);
    }

    bool from_files() {
        while (file_ < files_.size()) {
            size_t end = text_.find('\n', begin_);
            if (end == std::string::npos) {
                text_.erase(0, begin_);
                begin_ = 0;
                char buffer[32 * 1024];
                ssize_t size = ::read(files_[file_].get(), buffer, sizeof buffer);
                if (size > 0) {
                    text_.append(buffer, static_cast<size_t>(size));
                } else {
                    text_.clear(); // half a line: it is still being written
                    files_[file_++].reset();
                }
                continue;
            }
            Line line;
            bool ours = parse_line(std::string_view(text_).substr(begin_, end - begin_), line);
            if (ours) {
                entry.time_us = line.time_us;
                entry.pid = line.pid;
                entry.stream = line.stream;
                entry.text = line.text;
            } else { // what somebody else put there belongs to the line before it
                entry.pid = 0;
                entry.stream = "?";
                entry.text = text_.substr(begin_, end - begin_);
            }
            entry.service = service_;
            begin_ = end + 1;
            return true;
        }
        return false;
    }

    std::string service_;
    uint64_t since_;
    std::vector<Fd> files_;
    size_t file_ = 0;
    std::string text_;
    size_t begin_ = 0;
    std::vector<Entry> ring_;
    size_t at_ = 0;
    uint64_t ring_since_ = 0;
};

using Cursors = std::map<std::string, std::unique_ptr<Cursor>>;

bool wanted(const Query& query, const std::string& service) {
    const auto& names = query.services;
    return names.empty() || std::find(names.begin(), names.end(), service) != names.end();
}

Cursor& cursor(Cursors& cursors, const Query& query, const std::string& service) {
    auto& place = cursors[service];
    if (!place) place = std::make_unique<Cursor>(service, query.since_us);
    return *place;
}

void add_ring(Cursors& cursors, const Query& query, const Ring& ring) {
    const Shared& shared = ring.shared();
    uint64_t at = shared.tail.load();
    uint64_t head = shared.head.load();
    while (at < head) {
        auto lines = ring.block_at(at);
        // Overtaken: then it is in a file, or lost.
        if (!lines || (shared.tail.load() > at && head - shared.tail.load() > ring_size)) return;
        at = lines->end;
        std::string service(lines->source.name());
        if (lines->text.empty() || !wanted(query, service)) continue;
        std::string_view text = lines->text;
        while (!text.empty()) {
            size_t end = text.find('\n');
            Entry entry{service, lines->time_us, lines->source.pid,
                        std::string(lines->source.stream()), std::string(text.substr(0, end))};
            cursor(cursors, query, service).add_entry(std::move(entry));
            text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
        }
    }
}

} // namespace

Result<std::set<std::string>> read_logs(const Query& query,
                                        const std::function<void(const Entry&)>& each) {
    Cursors cursors;
    // The ring first: what leaves it meanwhile is found in a file.
    auto ring = query.ring_folder.empty() ? Result<Ring>(Error{})
                                          : Ring::open(query.ring_folder, Ring::For::looking);
    if (ring) add_ring(cursors, query, *ring);
    auto files = log_files(query.folder);
    if (!files && !ring) return files.error();
    if (files)
        for (const LogFile& file : *files) {
            if (!wanted(query, file.service)) continue;
            Fd fd(::open((query.folder + "/" + file.name).c_str(), O_RDONLY | O_CLOEXEC));
            if (!fd && errno == ENOENT) continue; // rotated away
            if (!fd) return system_error(query.folder + "/" + file.name, errno);
            Cursor& place = cursor(cursors, query, file.service);
            struct stat info {};
            if (query.since_us > 0 && ::fstat(fd.get(), &info) == 0 &&
                static_cast<uint64_t>(info.st_mtime + 1) * 1'000'000 < query.since_us)
                continue;
            place.add_file(std::move(fd));
        }
    std::vector<Cursor*> heap;
    for (auto& [service, each_cursor] : cursors)
        if (each_cursor->next()) heap.push_back(each_cursor.get());
    auto later = [](const Cursor* a, const Cursor* b) {
        return a->entry.time_us > b->entry.time_us;
    };
    std::make_heap(heap.begin(), heap.end(), later);
    while (!heap.empty()) {
        std::pop_heap(heap.begin(), heap.end(), later);
        each(heap.back()->entry);
        if (heap.back()->next())
            std::push_heap(heap.begin(), heap.end(), later);
        else
            heap.pop_back();
    }
    std::set<std::string> names;
    for (const auto& [service, each_cursor] : cursors)
        names.insert(service);
    return names;
}

Result<uint64_t> parse_since(std::string_view text, uint64_t now_us) {
    Error wrong{std::string(text) + " is no time such as 10m, 2h, 3d, 2026-11-22 or " +
                "2026-11-22T01:02:03Z"};
    if (text.empty()) return wrong;
    std::string full(text);
    if (text.size() == 10 && text[4] == '-') return parse_time(full + "T00:00:00Z");
    if (text.size() >= 19 && text[4] == '-') {
        if (full[10] == ' ') full[10] = 'T';
        if (full.back() != 'Z') full += 'Z';
        return parse_time(full);
    }
    uint64_t unit = 1;
    switch (text.back()) {
    case 'd':
        unit = 86'400;
        break;
    case 'h':
        unit = 3600;
        break;
    case 'm':
        unit = 60;
        break;
    case 's':
        break;
    default:
        return wrong;
    }
    uint64_t number = 0;
    text.remove_suffix(1);
    if (text.empty() || text.size() > 8) return wrong;
    for (char c : text) {
        if (c < '0' || c > '9') return wrong;
        number = number * 10 + static_cast<uint64_t>(c - '0');
    }
    uint64_t before = number * unit * 1'000'000;
    return before < now_us ? now_us - before : 0;
}

} // namespace muster::logs
