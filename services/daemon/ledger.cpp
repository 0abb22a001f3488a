#include "services/daemon/ledger.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

namespace muster::services {

namespace {

constexpr uint64_t magic = 0x32524744454c534dULL; // "MSLEDGR2"
constexpr size_t unit = 64;
constexpr uint32_t size_classes = 16; // the largest: 2 MiB

size_t size_of(uint32_t size_class) { return unit << size_class; }

} // namespace

struct Ledger::Header {
    uint64_t magic;
    uint64_t end; // of what was ever used, from the beginning of the memory
    uint64_t reserved[6];
};

uint64_t Ledger::Word::pack() const {
    uint64_t flags = 0;
    int bit = 16;
    for (bool each : {ready, retired, ended, gone, judged, signalled, killed, notifying})
        flags |= static_cast<uint64_t>(each) << bit++;
    return phase | static_cast<uint64_t>(outcome) << 8 | flags |
           static_cast<uint64_t>(failure) << 24;
}

Ledger::Word Ledger::Word::unpack(uint64_t word) {
    Word result;
    result.phase = static_cast<uint8_t>(word);
    result.outcome = static_cast<uint8_t>(word >> 8);
    int bit = 16;
    for (bool* each : {&result.ready, &result.retired, &result.ended, &result.gone, &result.judged,
                       &result.signalled, &result.killed, &result.notifying})
        *each = (word >> bit++ & 1) != 0;
    result.failure = static_cast<uint8_t>(word >> 24);
    return result;
}

Ledger& Ledger::operator=(Ledger&& other) noexcept {
    std::swap(base_, other.base_);
    std::swap(free_, other.free_);
    return *this;
}

Ledger::~Ledger() {
    if (base_ != nullptr) ::munmap(base_, capacity);
}

Ledger::Header& Ledger::header() const { return *reinterpret_cast<Header*>(base_); }

Result<Ledger> Ledger::map(Fd memory) {
    void* base = ::mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
    if (base == MAP_FAILED) return system_error("map the ledger", errno);
    Ledger ledger;
    ledger.base_ = static_cast<unsigned char*>(base);
    ledger.free_.resize(size_classes);
    return ledger;
}

Result<Ledger> Ledger::create(SecondStageLink& link) {
    Fd memory(::memfd_create("muster-ledger", MFD_CLOEXEC));
    if (!memory || ::ftruncate(memory.get(), capacity) < 0)
        return system_error("memory for the ledger", errno);
    int fd = memory.get();
    Fd kept(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    auto ledger = map(std::move(memory));
    if (!ledger) return ledger;
    ledger->header().end = sizeof(Header);
    ledger->header().magic = magic;
    if (auto stored = link.store_fd(kept_name, kept.get()); !stored) return stored.error();
    return ledger;
}

Result<Ledger> Ledger::take_over(Fd memory) {
    struct stat file {};
    if (::fstat(memory.get(), &file) < 0 || file.st_size != static_cast<off_t>(capacity))
        return Error{"the ledger has the wrong size"};
    auto ledger = map(std::move(memory));
    if (!ledger) return ledger;
    const Header& header = ledger->header();
    if (header.magic != magic || header.end < sizeof(Header) || header.end > capacity)
        return Error{"the ledger is of another version"};
    return ledger;
}

std::vector<Ledger::Record*> Ledger::all() {
    std::vector<Record*> used;
    if (base_ == nullptr) return used;
    for (size_t at = sizeof(Header); at + sizeof(Record) <= header().end;) {
        auto* record = reinterpret_cast<Record*>(base_ + at);
        if (record->size_class >= size_classes) break;
        if (record->state == 1)
            used.push_back(record);
        else
            free_[record->size_class].push_back(record);
        at += size_of(record->size_class);
    }
    return used;
}

Result<Ledger::Record*> Ledger::add(preserves::View id, preserves::View spec) {
    size_t size = sizeof(Record) + id.bytes().size() + spec.bytes().size();
    auto size_class = static_cast<uint32_t>(std::bit_width((size - 1) / unit));
    Error full{"no room is left to remember another process"};
    if (size_class >= size_classes) return full;
    Record* record = nullptr;
    if (auto& free = free_[size_class]; !free.empty()) {
        record = free.back();
        free.pop_back();
    } else {
        size_t end = header().end;
        if (size_of(size_class) > capacity - end) return full;
        record = reinterpret_cast<Record*>(base_ + end);
        record->size_class = size_class; // never written, so its state is free
        __atomic_store_n(&header().end, end + size_of(size_class), __ATOMIC_RELEASE);
    }
    std::memset(&record->word, 0, sizeof(Record) - offsetof(Record, word));
    record->id_size = static_cast<uint32_t>(id.bytes().size());
    record->spec_size = static_cast<uint32_t>(spec.bytes().size());
    auto* text = reinterpret_cast<unsigned char*>(record + 1);
    std::memcpy(text, id.bytes().data(), record->id_size);
    std::memcpy(text + record->id_size, spec.bytes().data(), record->spec_size);
    __atomic_store_n(&record->state, 1U, __ATOMIC_RELEASE);
    return record;
}

void Ledger::remove(Record* record) {
    __atomic_store_n(&record->state, 0U, __ATOMIC_RELEASE);
    free_[record->size_class].push_back(record);
}

std::string_view Ledger::id_of(const Record& record) {
    return {reinterpret_cast<const char*>(&record + 1), record.id_size};
}

std::string_view Ledger::spec_of(const Record& record) {
    return {reinterpret_cast<const char*>(&record + 1) + record.id_size, record.spec_size};
}

void LedgerEntry::set_last(std::string_view last) const {
    // Cut between characters.
    size_t size = std::min(last.size(), Ledger::last_size - 1);
    if (size < last.size())
        while (size > 0 && (static_cast<unsigned char>(last[size]) & 0xc0) == 0x80)
            --size;
    if (std::string_view(record_->last) == last.substr(0, size)) return;
    record_->last[0] = '\0';
    std::memcpy(record_->last, last.data(), size);
    record_->last[size] = '\0';
}

} // namespace muster::services
