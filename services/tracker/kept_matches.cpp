#include "services/tracker/kept_matches.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "init/base/files.h"

namespace muster::services {

namespace {

constexpr uint64_t magic = 0x325354414d53554dULL; // "MUSMATS2", where a number 0 would be
constexpr size_t unit = sizeof(uint64_t);
constexpr size_t most = 8191;

} // namespace

Result<> KeptMatches::take_over(std::function<bool()> settling) {
    Fd memory = keeper_.take(kept_name);
    if (!memory) return {};
    std::string bytes;
    uint64_t first = 0;
    bool read = ::lseek(memory.get(), 0, SEEK_SET) == 0 &&
                read_to_end(memory.get(), bytes, unit * (most + 1));
    if (bytes.size() >= unit) std::memcpy(&first, bytes.data(), unit);
    if (first != magic) {
        int why = errno;
        keeper_.drop(kept_name);
        if (!read) return system_error("read what had set off triggers", why);
        return Error{"what had set off triggers is of another version"};
    }
    memory_ = std::move(memory);
    settling_ = std::move(settling);
    used_ = std::min(bytes.size() / unit, most + 1) - 1;
    for (size_t number = 1; number <= used_; ++number) {
        uint64_t match = 0;
        std::memcpy(&match, bytes.data() + number * unit, unit);
        if (match == 0 || !places_.emplace(match, Place{number, 0}).second) free_.push_back(number);
    }
    return {};
}

bool KeptMatches::came(uint64_t match) {
    if (settling_ && !settling_()) forget_what_is_from_before();
    auto [found, is_new] = places_.try_emplace(match);
    Place& place = found->second;
    bool from_before = !is_new && place.times == 0;
    ++place.times;
    if (is_new) {
        place.number = room();
        if (place.number != 0) write(place.number, match);
    }
    return from_before;
}

void KeptMatches::left(uint64_t match) {
    auto found = places_.find(match);
    if (found == places_.end() || found->second.times == 0 || --found->second.times > 0) return;
    size_t number = found->second.number;
    places_.erase(found);
    if (number == 0) return;
    write(number, 0);
    free_.push_back(number);
}

void KeptMatches::forget_what_is_from_before() {
    settling_ = nullptr;
    std::erase_if(places_, [this](const auto& each) {
        if (each.second.times > 0) return false;
        write(each.second.number, 0);
        free_.push_back(each.second.number);
        return true;
    });
}

bool KeptMatches::make_memory() {
    if (!keeper_) return false;
    Fd memory(::memfd_create("muster-matches", MFD_CLOEXEC));
    bool made = memory && ::pwrite(memory.get(), &magic, unit, 0) == unit;
    if (made && keeper_.store(kept_name, memory.get())) memory_ = std::move(memory);
    return memory_.valid();
}

size_t KeptMatches::room() {
    if (!memory_ && !make_memory()) return 0;
    if (free_.empty()) return used_ < most ? ++used_ : 0;
    size_t number = free_.back();
    free_.pop_back();
    return number;
}

// A number for which there is no memory is not remembered.
void KeptMatches::write(size_t number, uint64_t match) {
    (void)!::pwrite(memory_.get(), &match, unit, static_cast<off_t>(number * unit));
}

} // namespace muster::services
