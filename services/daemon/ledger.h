// What a second stage must know of the runs of its daemons when it takes over from one that died:
// a memfd that init keeps for us, mapped. By itself, outside init, there is none and nothing is
// written.
//
// It holds one record for each instance (instance.h): whose it is, its specification, how far it
// is, the slot of its process (init/records.h). The order of stores is what makes it safe to die at
// any moment: a record counts when its `state` says so, and that is written last; `word` holds in
// one store all that must agree with itself. The rest is either valid on its own or for people.
//
// Beside a record there may be notes, of what only some instances have: bytes that are written
// whole or not at all. A new one is there before the old one goes, and whoever finds both takes the
// newer.
//
// Records and notes are multiples of 64 bytes, of sizes that are powers of two, never moved; a free
// one is used again for one of its size. What makes no sense in what a predecessor wrote is left
// alone: it is as if it were not there.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "init/base/fd.h"
#include "init/base/result.h"
#include "init/preserves/value.h"
#include "init/second_stage_link.h"

namespace muster::services {

class Ledger {
  public:
    static constexpr std::string_view kept_name = "ledger";
    static constexpr int version = 2;                    // of its layout
    static constexpr size_t capacity = 16 * 1024 * 1024; // bytes; only what was used is there
    static constexpr size_t last_size = 80;

    // In the mapping. Times are CLOCK_MONOTONIC in nanoseconds.
    struct Record {
        uint32_t state; // 0 free, 1 used
        uint32_t size_class;
        uint32_t id_size; // bytes of canonical Preserves, behind this
        uint32_t spec_size;
        uint64_t word; // Word, packed
        uint32_t slot;
        uint32_t generation; // of the process's slot; 0: there is none
        int32_t wait_status; // if Word::ended
        // What the process named as the one that counts, or, with main_started 0, its own number;
        // 0: there was none.
        int32_t main_pid;
        uint64_t starts;
        uint64_t started_at;
        uint64_t next_delay;
        uint64_t next_start;
        uint64_t stop_by;     // when what is left is killed
        char last[last_size]; // Instance::last, cut; ended by a NUL
        uint32_t logger_slot; // of the logger of an s6 service directory
        uint32_t logger_generation;
        uint64_t main_started; // process_started(main_pid)
        uint64_t failed_at;    // CLOCK_REALTIME, microseconds
        uint32_t failures;     // 0: it has not failed yet
        uint32_t watchdog_ms;  // what the process asked for; 0: nothing
    };
    static_assert(sizeof(Record) == 192);

    enum class NoteKind : uint8_t {
        carried, // carried.h, canonical Preserves
        lines,   // the last lines of the process (log_lines.h)
    };
    static constexpr size_t note_kinds = 2;
    struct Note {
        uint32_t state; // 0 free, 2 a note
        uint32_t size_class;
        uint32_t owner; // offset of its record, in units
        uint32_t size;  // bytes, behind this
        uint32_t kind;
        uint32_t sequence; // of two of a kind, the one of the higher number counts
    };
    static_assert(sizeof(Note) == 24);
    using Notes = std::array<Note*, note_kinds>; // null: none

    // What has to be stored at once.
    struct Word {
        uint8_t phase = 0;   // Instance::Phase
        uint8_t outcome = 0; // Instance::Outcome
        bool ready = false;
        bool retired = false;
        bool ended = false;     // the process has, with wait_status
        bool gone = false;      // nothing of its tree is left
        bool judged = false;    // what its end means was decided: `outcome`
        bool signalled = false; // the stop signal was sent
        bool killed = false;    // by us, after its time
        // The readiness pipe is being read, or READY=1 was seen and is not acted upon yet.
        bool notifying = false;
        uint8_t failure = 0; // Failure::Kind of the last one

        uint64_t pack() const;
        static Word unpack(uint64_t word);
    };

    Ledger() = default; // none
    Ledger(Ledger&& other) noexcept { *this = std::move(other); }
    Ledger& operator=(Ledger&& other) noexcept;
    ~Ledger();

    // A new one, given to init to keep.
    static Result<Ledger> create(SecondStageLink& link);
    // That of a predecessor. ERRORS: it is none of this version.
    static Result<Ledger> take_over(Fd memory);
    explicit operator bool() const { return base_ != nullptr; }

    // Both values without capabilities. ERRORS: it is full.
    Result<Record*> add(preserves::View id, preserves::View spec);
    void remove(Record* record);

    // In the place of `note`, which may be null, for the same record and of the same kind. Without
    // room there is none then. Nothing is written if it says the same.
    void write(Note*& note, const Record& owner, NoteKind kind, std::string_view bytes);
    void remove(Note*& note);

    // All that there are, once after take_over.
    std::vector<Record*> all();
    // The notes of one of these, once.
    Notes take_notes(const Record* record);
    static std::string_view id_of(const Record& record);
    static std::string_view spec_of(const Record& record);
    static std::string_view text_of(const Note* note); // of none: empty
    // What it is, if it is a whole value without capabilities.
    static Result<preserves::Value> value_of(std::string_view canonical);

  private:
    struct Header;
    static Result<Ledger> map(Fd memory);
    Header& header() const;
    void* allocate(size_t size);
    void find_note(Note* note);
    uint32_t place_of(const void* block) const;

    unsigned char* base_ = nullptr;
    std::vector<std::vector<void*>> free_;      // by size class
    std::unordered_map<uint32_t, Notes> found_; // by place of their record
};

// One record, removed with this unless init is to keep it. May be none: then nothing is written.
class LedgerEntry {
  public:
    LedgerEntry() = default;
    LedgerEntry(Ledger& ledger, Ledger::Record* record)
        : ledger_(&ledger), record_(record), notes_(ledger.take_notes(record)) {}
    LedgerEntry(LedgerEntry&& other) noexcept
        : ledger_(other.ledger_), record_(std::exchange(other.record_, nullptr)),
          notes_(std::exchange(other.notes_, {})) {}
    LedgerEntry& operator=(LedgerEntry&& other) noexcept {
        std::swap(ledger_, other.ledger_);
        std::swap(record_, other.record_);
        std::swap(notes_, other.notes_);
        return *this;
    }
    ~LedgerEntry() {
        if (record_ == nullptr) return;
        for (Ledger::Note*& note : notes_)
            ledger_->remove(note);
        ledger_->remove(record_);
    }
    explicit operator bool() const { return record_ != nullptr; }
    Ledger::Record* operator->() const { return record_; }

    Ledger::Word word() const { return Ledger::Word::unpack(record_->word); }
    // After everything else that was stored.
    void set_word(const Ledger::Word& word) const {
        __atomic_store_n(&record_->word, word.pack(), __ATOMIC_RELEASE);
    }
    void set_last(std::string_view last) const;

    std::string_view note(Ledger::NoteKind kind) const {
        return Ledger::text_of(notes_[static_cast<size_t>(kind)]);
    }
    // Empty: there is none.
    void set_note(Ledger::NoteKind kind, std::string_view bytes);

  private:
    Ledger* ledger_ = nullptr;
    Ledger::Record* record_ = nullptr;
    Ledger::Notes notes_{};
};

} // namespace muster::services
