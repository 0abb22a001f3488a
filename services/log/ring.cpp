#include "services/log/ring.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "services/log/files.h"

namespace muster::logs {

namespace {

constexpr uint32_t ring_magic = 0x474f4c4d; // "MLOG"
constexpr uint32_t ring_version = 3;
constexpr uint16_t kind_pad = 1;
constexpr uint16_t kind_lines = 2;
// What is allocated at once. An empty ring that is beyond its first begins anew there, and gives
// the others back.
constexpr size_t chunk_size = 32 * 1024;
static_assert(ring_size / chunk_size <= 64);

static_assert(std::atomic<uint64_t>::is_always_lock_free);

size_t round_up(size_t size) { return (size + 7) & ~size_t(7); }

long futex(std::atomic<uint32_t>& word, int operation, uint32_t value) {
    return ::syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), operation, value, nullptr,
                     nullptr, 0);
}

size_t block_size(const Source& source, size_t text_size) {
    return round_up(sizeof(Block) + source.name_size + source.stream_size + text_size);
}

} // namespace

uint64_t realtime_us() {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000 +
           static_cast<uint64_t>(now.tv_nsec) / 1000;
}

Source::Source(std::string_view service, std::string_view stream, int32_t of, Rotation how)
    : pid(of), rotation(how),
      stream_size(static_cast<uint16_t>(std::min(stream.size(), sizeof stream_bytes))) {
    const std::string name = logged_name(service);
    name_size = static_cast<uint16_t>(std::min(name.size(), sizeof name_bytes));
    std::memcpy(name_bytes, name.data(), name_size);
    std::memcpy(stream_bytes, stream.data(), stream_size);
}

Result<Ring> Ring::open(const std::string& folder, For purpose) {
    std::string path = folder + "/log.ring";
    std::string wake_path = folder + "/log.wake";
    bool make = purpose == For::reading;
    int flags = (purpose == For::looking ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW;
    if (make && ::mkfifo(wake_path.c_str(), 0600) < 0 && errno != EEXIST)
        return system_error(wake_path, errno);
    Fd file(::open(path.c_str(), flags | (make ? O_CREAT : 0), 0600));
    if (!file) return system_error(path, errno);
    if (make && ::ftruncate(file.get(), sizeof(Shared)) < 0) return system_error(path, errno);
    struct stat info {};
    if (::fstat(file.get(), &info) < 0) return system_error(path, errno);
    if (info.st_size != sizeof(Shared)) return Error{path + ": is of another version"};
    Ring ring;
    int protection = purpose == For::looking ? PROT_READ : PROT_READ | PROT_WRITE;
    void* memory = ::mmap(nullptr, sizeof(Shared), protection, MAP_SHARED, file.get(), 0);
    if (memory == MAP_FAILED) return system_error("map " + path, errno);
    ring.shared_ = static_cast<Shared*>(memory);
    if (purpose != For::looking) {
        ring.wake_ = Fd(::open(wake_path.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
        if (!ring.wake_) return system_error(wake_path, errno);
    }
    ring.file_ = std::move(file);
    auto allocate_first = [&] {
        return ::fallocate(ring.file_.get(), 0, 0, offsetof(Shared, data) + chunk_size) == 0;
    };
    if (make && !allocate_first()) return system_error(path, errno);
    if (!ring.sound()) {
        if (!make) return Error{path + ": is of another version"};
        // A file of zeros is what a new one is, too.
        if (::ftruncate(ring.file_.get(), 0) < 0 ||
            ::ftruncate(ring.file_.get(), sizeof(Shared)) < 0 || !allocate_first())
            return system_error(path, errno);
        ring.shared_->version = ring_version;
        ring.shared_->magic = ring_magic;
    }
    return ring;
}

Ring::Ring(Ring&& other) noexcept
    : file_(std::move(other.file_)), wake_(std::move(other.wake_)),
      shared_(std::exchange(other.shared_, nullptr)), chunks_(other.chunks_) {}

Ring& Ring::operator=(Ring&& other) noexcept {
    std::swap(file_, other.file_);
    std::swap(wake_, other.wake_);
    std::swap(chunks_, other.chunks_);
    std::swap(shared_, other.shared_);
    return *this;
}

Ring::~Ring() {
    if (shared_) ::munmap(shared_, sizeof(Shared));
}

bool Ring::sound() const {
    if (shared_->magic != ring_magic || shared_->version != ring_version) return false;
    uint64_t head = shared_->head, tail = shared_->tail;
    return tail <= head && head - tail <= ring_size && head % 8 == 0 && tail % 8 == 0;
}

void Ring::drain_wake() const {
    char bytes[64];
    while (::read(wake_.get(), bytes, sizeof bytes) > 0) {
    }
}

size_t Ring::used() const {
    return static_cast<size_t>(shared_->head.load() - shared_->tail.load());
}

void Ring::copy_in(uint64_t position, const void* from, size_t size) {
    size_t at = position % ring_size;
    size_t first = std::min(size, ring_size - at);
    std::memcpy(shared_->data + at, from, first);
    std::memcpy(shared_->data, static_cast<const char*>(from) + first, size - first);
}

void Ring::copy_out(uint64_t position, void* to, size_t size) const {
    size_t at = position % ring_size;
    size_t first = std::min(size, ring_size - at);
    std::memcpy(to, shared_->data + at, first);
    std::memcpy(static_cast<char*>(to) + first, shared_->data, size - first);
}

bool Ring::allocate(uint64_t position, size_t size) {
    for (uint64_t at = position; at < position + size; at = (at / chunk_size + 1) * chunk_size) {
        uint64_t chunk = at % ring_size / chunk_size;
        if (chunks_ & (1ull << chunk)) continue;
        off_t where = static_cast<off_t>(offsetof(Shared, data) + chunk * chunk_size);
        if (::fallocate(file_.get(), 0, where, chunk_size) < 0) return false;
        chunks_ |= 1ull << chunk;
    }
    return true;
}

// So that a system that says little uses little memory.
void Ring::start_over_if_empty(size_t needed) {
    uint64_t head = shared_->head.load();
    size_t at = head % ring_size;
    if (head != shared_->tail.load() || at + needed <= chunk_size) return;
    size_t left = ring_size - at;
    if (left < sizeof(Block) || left + needed > ring_size) return;
    if (!allocate(head, sizeof(Block))) return;
    Block pad{};
    pad.size = static_cast<uint32_t>(left);
    pad.kind = kind_pad;
    copy_in(head, &pad, sizeof pad);
    shared_->head.store(head + left);
    // The pad goes with the chunk that it is in, and with it all that was here.
    size_t end = (at + sizeof pad + chunk_size - 1) / chunk_size * chunk_size;
    if (end < ring_size)
        ::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(offsetof(Shared, data) + end),
                    static_cast<off_t>(ring_size - end));
    size_t begin = at / chunk_size * chunk_size;
    if (begin > chunk_size)
        ::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                    static_cast<off_t>(offsetof(Shared, data) + chunk_size),
                    static_cast<off_t>(begin - chunk_size));
    chunks_ &= 1 | (3ull << (at / chunk_size));
}

Ring::Room Ring::make_room(const Source& source, size_t text_size) {
    size_t needed = block_size(source, text_size);
    start_over_if_empty(needed);
    while (space() < needed) {
        if (shared_->writing.load()) return Room::none;
        auto oldest = block_at(shared_->tail.load());
        if (!oldest) { // cannot be: begin anew rather than stop for ever
            shared_->tail.store(shared_->head.load());
            continue;
        }
        auto lines = std::count(oldest->text.begin(), oldest->text.end(), '\n');
        shared_->dropped.fetch_add(static_cast<uint64_t>(lines));
        shared_->tail.store(oldest->end);
    }
    if (allocate(shared_->head.load(), needed)) return Room::here;
    // What is in there will make room; if nothing is, waiting would be for ever.
    return shared_->writing.load() && used() > 0 ? Room::none : Room::never;
}

bool Ring::append(const Source& source, uint64_t time_us, std::string_view text,
                  const std::function<void(uint64_t)>& announce) {
    Room room = make_room(source, text.size());
    if (room == Room::none) return false;
    if (room == Room::never) {
        auto lines = std::count(text.begin(), text.end(), '\n');
        shared_->dropped.fetch_add(static_cast<uint64_t>(lines));
        return true;
    }
    size_t size = block_size(source, text.size());
    Block block{};
    block.size = static_cast<uint32_t>(size);
    block.kind = kind_lines;
    block.name_size = source.name_size;
    block.stream_size = source.stream_size;
    block.pid = source.pid;
    block.time_us = time_us;
    block.rotation = source.rotation;
    block.text_size = static_cast<uint32_t>(text.size());
    uint64_t at = shared_->head.load();
    if (announce) announce(at + size);
    copy_in(at, &block, sizeof block);
    copy_in(at + sizeof block, source.name_bytes, source.name_size);
    copy_in(at + sizeof block + source.name_size, source.stream_bytes, source.stream_size);
    copy_in(at + sizeof block + source.name_size + source.stream_size, text.data(), text.size());
    shared_->head.store(at + size);
    wake_writer();
    return true;
}

bool Ring::allocate_partial(uint32_t index) {
    uint32_t there = shared_->partials_there;
    if (index < there) return true;
    off_t where = static_cast<off_t>(offsetof(Shared, partials) + there * sizeof(Partial));
    off_t size = static_cast<off_t>((index + 1 - there) * sizeof(Partial));
    if (::fallocate(file_.get(), 0, where, size) < 0) return false;
    shared_->partials_there = index + 1;
    return true;
}

void Ring::set_partial(uint32_t& index, const Source& source, std::string_view rest) {
    if (rest.empty()) {
        if (index != no_partial) shared_->partials[index].size.store(0);
        index = no_partial;
        return;
    }
    if (index == no_partial) {
        uint32_t free = 0;
        while (free < partial_count && free < shared_->partials_there &&
               shared_->partials[free].size.load() != 0)
            ++free;
        // None left, or no memory: such a line is lost if we crash, but not otherwise.
        if (free == partial_count || !allocate_partial(free)) return;
        index = free;
    }
    Partial& partial = shared_->partials[index];
    partial.source = source;
    std::memcpy(partial.bytes, rest.data(), std::min(rest.size(), longest_line));
    partial.size.store(static_cast<uint32_t>(std::min(rest.size(), longest_line)));
}

void Ring::wake_writer() const {
    shared_->word.fetch_add(1);
    if (shared_->sleeping.load()) futex(shared_->word, FUTEX_WAKE, INT_MAX);
}

Result<Ring::Lines> Ring::block_at(uint64_t position) const {
    uint64_t head = shared_->head.load();
    Error broken{"the ring of lines is damaged"};
    if (position > head || head - position < sizeof(Block)) return broken;
    Block block;
    copy_out(position, &block, sizeof block);
    if (block.size < sizeof block || block.size % 8 != 0 || block.size > head - position)
        return broken;
    Lines lines;
    lines.at = position;
    lines.end = position + block.size;
    if (block.kind == kind_pad) return lines;
    lines.source.name_size = block.name_size;
    lines.source.stream_size = block.stream_size;
    size_t names = size_t(block.name_size) + block.stream_size;
    if (block.kind != kind_lines || !lines.source.sound() ||
        sizeof block + names + block.text_size > block.size)
        return broken;
    lines.source.pid = block.pid;
    lines.source.rotation = block.rotation;
    lines.time_us = block.time_us;
    lines.text.resize(block.text_size);
    position += sizeof block;
    copy_out(position, lines.source.name_bytes, block.name_size);
    copy_out(position + block.name_size, lines.source.stream_bytes, block.stream_size);
    copy_out(position + names, lines.text.data(), block.text_size);
    return lines;
}

void Ring::written(uint64_t position) const {
    shared_->tail.store(position);
    if (shared_->held.load()) wake_reader();
}

void Ring::sleep(uint32_t seen) const {
    shared_->sleeping.store(1);
    if (shared_->word.load() == seen) futex(shared_->word, FUTEX_WAIT, seen);
    shared_->sleeping.store(0);
}

void Ring::wake_reader() const { (void)!::write(wake_.get(), "", 1); }

} // namespace muster::logs
