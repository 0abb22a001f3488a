// Taking over from a second stage that died: what init kept, whose it is, and the time until the
// world is whole again.
//
//   begin      what init kept has come: descriptors, statuses, the ledger
//   adopt      the processes in the slots are ours again, their ends are known
//   held       the supervisor of daemons has made its instances from the ledger, in the states they
//              were in. Nothing of what was adopted is stopped for want of a need, since needs are
//              still being read. Ends when the configuration is read, every peer that resumes has
//              said everything anew, and things have been quiet for a moment; or after 30 s; or
//              when the system goes down.
//   released   what nobody needs is stopped, what changed is replaced
//
// By itself, outside init, and when nothing was before us, it is released from the beginning.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "init/base/event_loop.h"
#include "init/base/fd_keeper.h"
#include "services/daemon/ledger.h"
#include "services/process/process.h"

namespace muster::services {

class Adoption {
  public:
    // How long is waited for the configuration and the peers, and for quiet after that.
    static constexpr uint64_t longest_hold = 30 * second;
    static constexpr uint64_t quiet = 250 * millisecond;

    // Reads what init kept. All must outlive this. ERRORS: init cannot be understood.
    static Result<std::unique_ptr<Adoption>> begin(EventLoop& loop, SecondStageLink& link);
    // To be called once, before `processes` starts anything. ERRORS: the ledger cannot be made;
    // then nothing is remembered, and the rest works.
    Result<> adopt(Processes& processes);

    Ledger& ledger() { return ledger_; }
    std::vector<LedgerEntry> take_entries() { return std::move(entries_); }
    // A descriptor that a predecessor had kept by `SecondStageLink::store_fd`, or none. init keeps
    // its copy. What nobody takes is given up at the release, a socket with its file.
    Fd take_named(std::string_view name);
    // All whose names begin so.
    std::vector<std::pair<std::string, Fd>> take_all_named(std::string_view prefix);
    // From now on init keeps `fd` over our death. ERRORS: the store is full, the name is taken.
    Result<> keep_named(std::string_view name, int fd) { return link_.store_fd(name, fd); }
    void drop_named(std::string_view name) { (void)link_.drop_fd(name); }
    // The three, for others.
    FdKeeper keeper();
    // Number of this second stage since boot: what resuming peers are told.
    uint64_t epoch() const { return link_.welcome().starts; }

    // `action` is called, not in a turn, when the hold ends; at once if there is none.
    void hold(std::function<void()> action);
    bool holding() const { return static_cast<bool>(release_); }
    // From the beginning until the hold has ended.
    bool settling() const { return link_.attached() && epoch() > 0 && !released_; }
    void configuration_loaded();
    // Ends the hold now.
    void release();

    // A peer that is to resume: back when this is destroyed.
    class Peer {
      public:
        explicit Peer(Adoption& adoption) : adoption_(adoption) { ++adoption_.peers_missing_; }
        ~Peer() {
            --adoption_.peers_missing_;
            adoption_.consider();
        }
        Peer(const Peer&) = delete;
        Peer& operator=(const Peer&) = delete;

      private:
        Adoption& adoption_;
    };

  private:
    Adoption(EventLoop& loop, SecondStageLink& link) : loop_(loop), link_(link) {}
    void consider();

    EventLoop& loop_;
    SecondStageLink& link_;
    SecondStageLink::Kept kept_;
    Ledger ledger_;
    std::vector<LedgerEntry> entries_;
    std::function<void()> release_;
    bool loaded_ = false;
    bool released_ = false;
    size_t peers_missing_ = 0;
    Timer quiet_;
    Timer limit_;
};

} // namespace muster::services
