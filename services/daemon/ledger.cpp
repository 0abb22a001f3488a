#include "services/daemon/ledger.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "init/preserves/packed.h"

namespace muster::services {

namespace {

constexpr uint64_t magic = 0x32524744454c534dULL; // "MSLEDGR2"
constexpr size_t unit = 64;
constexpr uint32_t size_classes = 16; // the largest: 2 MiB

// How every block begins, whatever it is.
struct Block {
    uint32_t state;
    uint32_t size_class;
};
constexpr uint32_t block_free = 0;
constexpr uint32_t block_record = 1;
constexpr uint32_t block_note = 2;

size_t size_of(uint32_t size_class) { return unit << size_class; }
uint32_t size_class_of(size_t size) {
    return static_cast<uint32_t>(std::bit_width((size - 1) / unit));
}

void set_state(void* block, uint32_t state) {
    __atomic_store_n(&static_cast<Block*>(block)->state, state, __ATOMIC_RELEASE);
}

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
    std::swap(found_, other.found_);
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
    Header& header = ledger->header();
    if (header.magic != magic || header.end < sizeof(Header) || header.end > capacity)
        return Error{"the ledger is of another version"};
    header.end = (header.end + unit - 1) / unit * unit;
    return ledger;
}

uint32_t Ledger::place_of(const void* block) const {
    return static_cast<uint32_t>((static_cast<const unsigned char*>(block) - base_) / unit);
}

std::vector<Ledger::Record*> Ledger::all() {
    std::vector<Record*> used;
    if (base_ == nullptr) return used;
    std::vector<Note*> notes;
    size_t end = header().end;
    for (size_t at = sizeof(Header); at + unit <= end;) {
        auto* block = reinterpret_cast<Block*>(base_ + at);
        if (block->size_class >= size_classes || size_of(block->size_class) > end - at) break;
        size_t room = size_of(block->size_class);
        auto* record = reinterpret_cast<Record*>(block);
        auto* note = reinterpret_cast<Note*>(block);
        if (block->state == block_record) {
            // One that says it is longer than it is stays unused.
            if (room > sizeof(Record) && record->id_size <= room - sizeof(Record) &&
                record->spec_size <= room - sizeof(Record) - record->id_size)
                used.push_back(record);
        } else if (block->state == block_note) {
            if (note->size <= room - sizeof(Note) && note->kind < note_kinds) notes.push_back(note);
        } else {
            free_[block->size_class].push_back(block);
        }
        at += room;
    }
    for (Record* record : used)
        found_[place_of(record)] = {};
    for (Note* note : notes)
        find_note(note);
    std::erase_if(found_, [](const auto& each) { return each.second == Notes{}; });
    return used;
}

void Ledger::find_note(Note* note) {
    auto found = found_.find(note->owner);
    if (found == found_.end()) return remove(note); // its record is gone
    Note*& known = found->second[note->kind];
    if (known != nullptr && static_cast<int32_t>(note->sequence - known->sequence) < 0)
        return remove(note);
    remove(known);
    known = note;
}

Ledger::Notes Ledger::take_notes(const Record* record) {
    auto found = found_.find(place_of(record));
    if (found == found_.end()) return {};
    Notes notes = found->second;
    found_.erase(found);
    return notes;
}

// A block of that size, which counts as free until its state says otherwise; null: there is none.
void* Ledger::allocate(size_t size) {
    uint32_t size_class = size_class_of(size);
    if (size_class >= size_classes) return nullptr;
    if (auto& free = free_[size_class]; !free.empty()) {
        void* block = free.back();
        free.pop_back();
        return block;
    }
    size_t end = header().end;
    if (size_of(size_class) > capacity - end) return nullptr;
    auto* block = reinterpret_cast<Block*>(base_ + end);
    block->size_class = size_class; // never written, so its state is free
    __atomic_store_n(&header().end, end + size_of(size_class), __ATOMIC_RELEASE);
    return block;
}

Result<Ledger::Record*> Ledger::add(preserves::View id, preserves::View spec) {
    auto* record =
        static_cast<Record*>(allocate(sizeof(Record) + id.bytes().size() + spec.bytes().size()));
    if (record == nullptr) return Error{"no room is left to remember another process"};
    std::memset(&record->word, 0, sizeof(Record) - offsetof(Record, word));
    record->id_size = static_cast<uint32_t>(id.bytes().size());
    record->spec_size = static_cast<uint32_t>(spec.bytes().size());
    auto* text = reinterpret_cast<unsigned char*>(record + 1);
    std::memcpy(text, id.bytes().data(), record->id_size);
    std::memcpy(text + record->id_size, spec.bytes().data(), record->spec_size);
    set_state(record, block_record);
    return record;
}

void Ledger::remove(Record* record) {
    set_state(record, block_free);
    free_[record->size_class].push_back(record);
}

void Ledger::write(Note*& note, const Record& owner, NoteKind kind, std::string_view bytes) {
    if (note != nullptr && text_of(note) == bytes) return;
    auto* fresh = static_cast<Note*>(allocate(sizeof(Note) + bytes.size()));
    if (fresh != nullptr) {
        fresh->owner = place_of(&owner);
        fresh->size = static_cast<uint32_t>(bytes.size());
        fresh->kind = static_cast<uint32_t>(kind);
        fresh->sequence = note != nullptr ? note->sequence + 1 : 0;
        std::memcpy(fresh + 1, bytes.data(), bytes.size());
        set_state(fresh, block_note);
    }
    remove(note);
    note = fresh;
}

void Ledger::remove(Note*& note) {
    if (note == nullptr) return;
    set_state(note, block_free);
    free_[note->size_class].push_back(note);
    note = nullptr;
}

std::string_view Ledger::id_of(const Record& record) {
    return {reinterpret_cast<const char*>(&record + 1), record.id_size};
}

std::string_view Ledger::spec_of(const Record& record) {
    return {reinterpret_cast<const char*>(&record + 1) + record.id_size, record.spec_size};
}

std::string_view Ledger::text_of(const Note* note) {
    if (note == nullptr) return {};
    return {reinterpret_cast<const char*>(note + 1), note->size};
}

Result<preserves::Value> Ledger::value_of(std::string_view canonical) {
    preserves::Bytes bytes{reinterpret_cast<const uint8_t*>(canonical.data()), canonical.size()};
    preserves::Scan scanned = preserves::scan(bytes);
    if (scanned.state != preserves::Scan::State::complete || scanned.size != bytes.size() ||
        scanned.has_embedded)
        return Error{"the ledger holds what is not a value"};
    return preserves::decode_packed(bytes, scanned, nullptr);
}

void LedgerEntry::set_note(Ledger::NoteKind kind, std::string_view bytes) {
    Ledger::Note*& note = notes_[static_cast<size_t>(kind)];
    if (bytes.empty())
        ledger_->remove(note);
    else
        ledger_->write(note, *record_, kind, bytes);
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
