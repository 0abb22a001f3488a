#include "services/daemon/ledger.h"

#include <sys/mman.h>
#include <unistd.h>

#include "init/base/catch.h"
#include "init/preserves/text_reader.h"

using namespace muster;
using namespace muster::services;

namespace {

preserves::Value value(std::string_view text) { return *preserves::parse_text(text); }

// A ledger in memory of the test's own, which it can hand to a successor.
struct Memory {
    Fd fd{::memfd_create("test-ledger", MFD_CLOEXEC)};

    // As Ledger::create leaves it for init to keep.
    Memory() {
        auto link = SecondStageLink::standalone();
        auto made = Ledger::create(*link);
        REQUIRE(made.ok());
        REQUIRE(::ftruncate(fd.get(), Ledger::capacity) == 0);
        // The header of a new one: its magic number and where it ends.
        void* mine = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
        REQUIRE(mine != MAP_FAILED);
        auto* words = static_cast<uint64_t*>(mine);
        words[0] = 0x32524744454c534dULL;
        words[1] = 64;
        ::munmap(mine, 4096);
    }
    Result<Ledger> open() const { return Ledger::take_over(Fd(::dup(fd.get()))); }
};

} // namespace

TEST_CASE("ledger: what was written is there for the next one, what was removed is not") {
    Memory memory;
    {
        auto ledger = memory.open();
        REQUIRE(ledger.ok());
        CHECK(ledger->all().empty());
        auto kept = ledger->add(value("clock"), value("[\"/bin/date\"]"));
        auto removed = ledger->add(value("other"), value("[\"/bin/true\"]"));
        REQUIRE(kept.ok());
        REQUIRE(removed.ok());
        (*kept)->starts = 7;
        ledger->remove(*removed);
        // A free one is used again.
        auto again = ledger->add(value("third"), value("[\"/bin/true\"]"));
        REQUIRE(again.ok());
        CHECK(*again == *removed);
        ledger->remove(*again);
    }
    auto ledger = memory.open();
    REQUIRE(ledger.ok());
    auto all = ledger->all();
    REQUIRE(all.size() == 1);
    CHECK(all[0]->starts == 7);
    auto bytes = value("clock");
    CHECK(Ledger::id_of(*all[0]) ==
          std::string_view(reinterpret_cast<const char*>(bytes.bytes().data()),
                           bytes.bytes().size()));
    auto again = ledger->add(value("fourth"), value("[\"/bin/true\"]"));
    REQUIRE(again.ok());
    CHECK((*again)->starts == 0);
    CHECK((*again)->generation == 0);
}

TEST_CASE("ledger: records of all sizes, and one that is full refuses") {
    Memory memory;
    auto ledger = memory.open();
    REQUIRE(ledger.ok());
    size_t count = 0;
    for (size_t size = 1;; size = size < 1'000'000 ? size * 3 : size) {
        auto added = ledger->add(value("x"), preserves::string(std::string(size, 'x')));
        if (!added) break;
        ++count;
        REQUIRE(count < 100);
    }
    CHECK(count > 10);
    auto again = memory.open();
    REQUIRE(again.ok());
    CHECK(again->all().size() == count);
}

TEST_CASE("ledger: what is none is refused") {
    Fd empty(::memfd_create("test", MFD_CLOEXEC));
    CHECK_FALSE(Ledger::take_over(Fd(::dup(empty.get()))).ok());
    REQUIRE(::ftruncate(empty.get(), Ledger::capacity) == 0);
    CHECK_FALSE(Ledger::take_over(Fd(::dup(empty.get()))).ok());
}

TEST_CASE("ledger: the word keeps every part, the last text is cut between characters") {
    Ledger::Word word;
    word.phase = 5;
    word.outcome = 2;
    word.failure = 6;
    word.ready = word.gone = word.notifying = true;
    auto same = Ledger::Word::unpack(word.pack());
    CHECK(same.pack() == word.pack());
    CHECK(same.phase == 5);
    CHECK(same.outcome == 2);
    CHECK(same.failure == 6);
    CHECK((same.ready && same.gone && same.notifying));
    CHECK_FALSE((same.retired || same.ended || same.judged || same.signalled || same.killed));

    Memory memory;
    auto ledger = memory.open();
    REQUIRE(ledger.ok());
    auto record = ledger->add(value("x"), value("y"));
    REQUIRE(record.ok());
    LedgerEntry entry(*ledger, *record);
    entry.set_last(std::string(Ledger::last_size - 2, 'a') + "ä");
    CHECK(std::string(entry->last) == std::string(Ledger::last_size - 2, 'a'));
    entry.set_last("exit code 1");
    CHECK(std::string(entry->last) == "exit code 1");
}

TEST_CASE("ledger: notes are found with their record, the newer of two, and go with it") {
    using Kind = Ledger::NoteKind;
    Memory memory;
    {
        auto ledger = memory.open();
        REQUIRE(ledger.ok());
        auto kept = ledger->add(value("kept"), value("x"));
        auto other = ledger->add(value("other"), value("x"));
        REQUIRE(kept.ok());
        REQUIRE(other.ok());
        alignas(LedgerEntry) unsigned char room[sizeof(LedgerEntry)];
        auto* entry = new (room) LedgerEntry(*ledger, *kept); // init is to keep it
        entry->set_note(Kind::lines, std::string(900, 'a'));
        entry->set_note(Kind::lines, "short");
        entry->set_note(Kind::carried, "of another kind");
        CHECK(entry->note(Kind::lines) == "short");
        // Written, and its predecessor not yet removed: as if we had died in between.
        Ledger::Note* newer = nullptr;
        Ledger::Note* oldest = nullptr;
        ledger->write(newer, **kept, Kind::lines, "sequence 0");
        ledger->write(newer, **kept, Kind::lines, "sequence 1");
        ledger->write(newer, **kept, Kind::lines, "sequence 2");
        ledger->write(oldest, **kept, Kind::lines, "sequence 0 again");
        // One whose record goes without it.
        Ledger::Note* orphan = nullptr;
        ledger->write(orphan, **other, Kind::lines, "nobody's");
        ledger->remove(*other);
    }
    auto ledger = memory.open();
    REQUIRE(ledger.ok());
    auto all = ledger->all();
    REQUIRE(all.size() == 1);
    {
        LedgerEntry entry(*ledger, all[0]);
        CHECK(entry.note(Kind::lines) == "sequence 2");
        CHECK(entry.note(Kind::carried) == "of another kind");
        entry.set_note(Kind::carried, {});
        CHECK(entry.note(Kind::carried).empty());
        LedgerEntry moved(std::move(entry));
        CHECK(moved.note(Kind::lines) == "sequence 2");
    }
    auto again = memory.open();
    REQUIRE(again.ok());
    CHECK(again->all().empty());
}

TEST_CASE("ledger: one that is damaged is read as far as it makes sense") {
    using Kind = Ledger::NoteKind;
    uint32_t seed = 7;
    auto random = [&seed](size_t below) {
        seed = seed * 1664525 + 1013904223;
        return (seed >> 8) % below;
    };
    for (int round = 0; round < 300; ++round) {
        Memory memory;
        // Without destructors, as in a process that is killed.
        alignas(LedgerEntry) unsigned char rooms[6][sizeof(LedgerEntry)];
        {
            auto ledger = memory.open();
            REQUIRE(ledger.ok());
            for (auto& room : rooms) {
                auto record = ledger->add(value("x"), value("[\"/bin/true\" {a: 1}]"));
                REQUIRE(record.ok());
                auto* kept = new (room) LedgerEntry(*ledger, *record);
                kept->set_note(Kind::carried, "{}");
                kept->set_note(Kind::lines, std::string(random(300), 'y') + "z");
            }
        }
        void* bytes = ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd.get(), 0);
        REQUIRE(bytes != MAP_FAILED);
        for (size_t flips = 1 + random(200); flips > 0; --flips)
            static_cast<unsigned char*>(bytes)[8 + random(4096)] =
                static_cast<unsigned char>(random(256));
        ::munmap(bytes, 8192);
        auto ledger = memory.open();
        if (!ledger) continue; // refused as a whole
        for (Ledger::Record* record : ledger->all()) {
            (void)Ledger::value_of(Ledger::id_of(*record));
            (void)Ledger::value_of(Ledger::spec_of(*record));
            LedgerEntry entry(*ledger, record);
            (void)Ledger::value_of(entry.note(Kind::carried));
            CHECK(entry.note(Kind::lines).size() < Ledger::capacity);
            entry.set_note(Kind::lines, "new");
        }
        (void)ledger->add(value("x"), value("y"));
    }
}
