// The times of services (times.h) over the end of a second stage: a memfd that init keeps, with a
// record of 64 bytes for each service.
//
//   from before --its state is again what it was, or what comes after that--> known: goes on there
//       |
//       | the time of adopting is over
//       v
//   nobody's: free for another
//
// While a new second stage is adopting, a service is at first `waiting`, `starting`, `stopped`, or
// `stopping` for want of a need, although it runs: that is no change, and is not written.
#pragma once

#include <functional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "init/base/fd.h"
#include "init/base/result.h"
#include "init/preserves/value.h"
#include "services/tracker/times.h"

namespace muster::services {

class KeptTimes {
  public:
    static constexpr std::string_view kept_name = "times";

    // A new one, of which somebody is to keep `memory()`.
    static Result<KeptTimes> create();
    // That of a predecessor. `settling`: whether what is from before is being adopted still.
    // ERRORS: it is none of this version.
    static Result<KeptTimes> take_over(Fd memory, std::function<bool()> settling);
    KeptTimes(KeptTimes&& other) noexcept;
    KeptTimes& operator=(KeptTimes&& other) noexcept;
    ~KeptTimes();
    int memory() const { return memory_.get(); }

    // Times::became, remembered. Without room it is only not remembered.
    void became(preserves::View name, Times& times, std::string_view word, uint64_t now);
    // Nothing is known of this service any more.
    void forget(preserves::View name);

  private:
    struct Header;
    struct Record;
    struct Place {
        Record* record;
        bool known;
    };
    KeptTimes() = default;
    static Result<KeptTimes> map(Fd memory);
    Header& header() const;
    Record* records() const;
    Record* room();
    static void write(Record& record, uint64_t key, const Times& times);
    static bool read(const Record& record, Times& times);

    Fd memory_;
    unsigned char* base_ = nullptr;
    std::function<bool()> settling_;
    std::unordered_map<uint64_t, Place> places_; // by key
    std::vector<Record*> free_;
};

} // namespace muster::services
