#include "services/tracker/kept_times.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "init/base/fnv.h"
#include "services/tracker/service.h"

namespace muster::services {

namespace {

constexpr uint64_t magic = 0x31454d495453554dULL; // "MUSTIME1"
constexpr size_t most = 8191;
constexpr size_t unit = 64;
constexpr size_t capacity = unit * (most + 1); // bytes; only what was used is there
constexpr std::string_view words[] = {"",         "waiting",  "starting", "running",
                                      "complete", "stopping", "stopped",  "failed"};

uint32_t number_of(std::string_view word) {
    auto found = std::find(std::begin(words), std::end(words), word);
    return found == std::end(words) ? 0 : static_cast<uint32_t>(found - words);
}

uint64_t key_of(preserves::View name) {
    return fnv1a(without_capabilities(preserves::Value(name)).bytes());
}

// Times after `from`, in as few bits as it takes; 0: not yet.
uint32_t after(uint64_t from, uint64_t time) {
    if (time == 0) return 0;
    return static_cast<uint32_t>(std::min<uint64_t>(time - from + 1, UINT32_MAX));
}

uint64_t since(uint64_t from, uint32_t passed) { return passed == 0 ? 0 : from + passed - 1; }

// No news about one that was `before`, while it is being adopted.
bool no_news(std::string_view before, std::string_view word) {
    if (word == before) return false;
    if (word == "starting") return before != "waiting";
    return word == "waiting" || word == "stopping" || word == "stopped";
}

} // namespace

struct KeptTimes::Header {
    uint64_t magic;
    uint64_t used; // records that ever were
    uint64_t reserved[6];
};

// Valid if `word` is not 0, which is written last.
struct KeptTimes::Record {
    uint64_t key;
    uint64_t since;
    uint64_t demanded;
    uint64_t first_demanded;
    uint32_t starting, ready; // microseconds after `demanded`
    uint32_t first_starting, first_ready;
    uint32_t word;
    uint32_t reserved[3];
};

KeptTimes::KeptTimes(KeptTimes&& other) noexcept { *this = std::move(other); }

KeptTimes& KeptTimes::operator=(KeptTimes&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(base_, other.base_);
    std::swap(settling_, other.settling_);
    std::swap(places_, other.places_);
    std::swap(free_, other.free_);
    return *this;
}

KeptTimes::~KeptTimes() {
    if (base_ != nullptr) ::munmap(base_, capacity);
}

KeptTimes::Header& KeptTimes::header() const { return *reinterpret_cast<Header*>(base_); }

KeptTimes::Record* KeptTimes::records() const {
    static_assert(sizeof(Header) == unit && sizeof(Record) == unit);
    return reinterpret_cast<Record*>(base_ + unit);
}

Result<KeptTimes> KeptTimes::map(Fd memory) {
    void* base = ::mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
    if (base == MAP_FAILED) return system_error("map the times of services", errno);
    KeptTimes times;
    times.memory_ = std::move(memory);
    times.base_ = static_cast<unsigned char*>(base);
    return times;
}

Result<KeptTimes> KeptTimes::create() {
    Fd memory(::memfd_create("muster-times", MFD_CLOEXEC));
    if (!memory || ::ftruncate(memory.get(), capacity) < 0)
        return system_error("memory for the times of services", errno);
    auto times = map(std::move(memory));
    if (times) times->header().magic = magic;
    return times;
}

Result<KeptTimes> KeptTimes::take_over(Fd memory, std::function<bool()> settling) {
    struct stat file {};
    if (::fstat(memory.get(), &file) < 0 || file.st_size != static_cast<off_t>(capacity))
        return Error{"the times of services have the wrong size"};
    auto times = map(std::move(memory));
    if (!times) return times;
    if (times->header().magic != magic || times->header().used > most)
        return Error{"the times of services are of another version"};
    times->settling_ = std::move(settling);
    for (size_t i = 0; i < times->header().used; ++i) {
        Record* record = &times->records()[i];
        bool whole = record->word != 0 && record->word < std::size(words) &&
                     times->places_.emplace(record->key, Place{record, false}).second;
        if (!whole) times->free_.push_back(record);
    }
    return times;
}

void KeptTimes::became(preserves::View name, Times& times, std::string_view word, uint64_t now) {
    uint64_t key = key_of(name);
    auto [place, is_new] = places_.emplace(key, Place{nullptr, true});
    // What is there may look otherwise more than once until all is known that it depends on.
    Times before;
    if (!is_new && settling_ && settling_() && read(*place->second.record, before)) {
        if (no_news(before.word_, word)) return times.became(word, now);
        times = before;
    }
    place->second.known = true;
    times.became(word, now);
    if (is_new) place->second.record = room();
    if (place->second.record == nullptr)
        places_.erase(key);
    else
        write(*place->second.record, key, times);
}

void KeptTimes::forget(preserves::View name) {
    auto place = places_.find(key_of(name));
    if (place == places_.end() || !place->second.known) return; // it may come again
    place->second.record->word = 0;
    free_.push_back(place->second.record);
    places_.erase(place);
}

KeptTimes::Record* KeptTimes::room() {
    if (free_.empty() && settling_ && !settling_()) {
        settling_ = nullptr; // what has not come back by now does not
        std::erase_if(places_, [this](const auto& each) {
            if (each.second.known) return false;
            each.second.record->word = 0;
            free_.push_back(each.second.record);
            return true;
        });
    }
    if (free_.empty()) return header().used < most ? &records()[header().used++] : nullptr;
    Record* record = free_.back();
    free_.pop_back();
    return record;
}

void KeptTimes::write(Record& record, uint64_t key, const Times& times) {
    __atomic_store_n(&record.word, 0U, __ATOMIC_RELEASE);
    record.key = key;
    record.since = times.since_;
    record.demanded = times.rise_.demanded;
    record.starting = after(times.rise_.demanded, times.rise_.starting);
    record.ready = after(times.rise_.demanded, times.rise_.ready);
    record.first_demanded = times.first_.demanded;
    record.first_starting = after(times.first_.demanded, times.first_.starting);
    record.first_ready = after(times.first_.demanded, times.first_.ready);
    __atomic_store_n(&record.word, number_of(times.word_), __ATOMIC_RELEASE);
}

bool KeptTimes::read(const Record& record, Times& times) {
    if (record.word == 0 || record.word >= std::size(words)) return false;
    times.word_ = words[record.word];
    times.since_ = record.since;
    times.rise_ = {.demanded = record.demanded,
                   .starting = since(record.demanded, record.starting),
                   .ready = since(record.demanded, record.ready)};
    times.first_ = {.demanded = record.first_demanded,
                    .starting = since(record.first_demanded, record.first_starting),
                    .ready = since(record.first_demanded, record.first_ready)};
    return true;
}

} // namespace muster::services
