// Accounts: who owes for work that is queued (design 5; reference section 5).
//
// Every turn runs on an account: the one its cause was charged to. Events that wait in a queue and
// packets that wait to be written are charged to it (`borrow`) and repaid when they are fully
// processed, including what they caused. Whoever produces work for an account stops producing while
// it is not clear, and is told when it is again.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "init/base/ref.h"

namespace muster::dataspace {

// How many events may be owed. syndicate-server allows 100, which with small events means as many
// system calls as there are hundreds of them.
inline constexpr int64_t default_credit = 2'000;

class Account;

// The accounts of an engine: how much they may owe, and who wants to know how much they do.
class Accounts final : public Counted {
  public:
    // Of all accounts, those that are open included.
    void set_limit(int64_t events);
    int64_t limit() const { return limit_; }
    Ref<Account> open(std::string name);
    // All that are open. Nothing may be opened or closed meanwhile.
    const std::vector<Account*>& all() const { return all_; }

  private:
    friend class Account;
    int64_t limit_ = default_credit;
    std::vector<Account*> all_;
};

class Account : public Counted {
  public:
    explicit Account(std::string name, int64_t limit = default_credit)
        : name_(std::move(name)), limit_(limit) {}
    ~Account() override {
        if (!book_) return;
        Account*& place = book_->all_[index_];
        place = book_->all_.back();
        place->index_ = index_;
        book_->all_.pop_back();
    }

    void borrow(int64_t events) { debt_ += events; }
    void repay(int64_t events) {
        bool was_blocked = !clear();
        debt_ -= events;
        if (was_blocked && clear() && on_clear_) on_clear_();
    }
    bool clear() const { return debt_ <= limit_; }
    int64_t debt() const { return debt_; }
    int64_t limit() const { return limit_; }
    const std::string& name() const { return name_; }
    // Called when the debt falls back to the limit. One listener.
    void set_on_clear(std::function<void()> on_clear) { on_clear_ = std::move(on_clear); }

  private:
    friend class Accounts;
    std::string name_;
    int64_t debt_ = 0;
    int64_t limit_;
    std::function<void()> on_clear_;
    Ref<Accounts> book_; // null: in none
    size_t index_ = 0;   // in the book
};

inline void Accounts::set_limit(int64_t events) {
    limit_ = events;
    for (Account* account : all_)
        account->limit_ = events;
}

inline Ref<Account> Accounts::open(std::string name) {
    auto account = make_ref<Account>(std::move(name), limit_);
    account->book_ = Ref<Accounts>(this);
    account->index_ = all_.size();
    all_.push_back(account.get());
    return account;
}

// A debt that is repaid when this goes away.
class Loan {
  public:
    Loan() = default;
    Loan(Ref<Account> account, int64_t events) : account_(std::move(account)), events_(events) {
        if (account_) account_->borrow(events_);
    }
    Loan(Loan&& other) noexcept
        : account_(std::move(other.account_)), events_(std::exchange(other.events_, 0)) {}
    Loan& operator=(Loan&& other) noexcept {
        std::swap(account_, other.account_);
        std::swap(events_, other.events_);
        return *this;
    }
    ~Loan() {
        if (account_) account_->repay(events_);
    }
    const Ref<Account>& account() const { return account_; }
    // As assigning a new one to one that is empty (REQUIRES that).
    void take_up(const Ref<Account>& account, int64_t events) {
        account_ = account;
        events_ = events;
        account_->borrow(events);
    }
    // As assigning an empty one.
    void repay() {
        const Ref<Account> account = std::move(account_);
        if (account) account->repay(std::exchange(events_, 0));
    }
    // Borrows more on the same account.
    void add(int64_t events) {
        events_ += events;
        if (account_) account_->borrow(events);
    }

  private:
    Ref<Account> account_;
    int64_t events_ = 0;
};

} // namespace muster::dataspace
