#include "alpine-packages/solver.h"

#include <algorithm>
#include <bit>
#include <deque>

#include "alpine-packages/install_order.h"
#include "alpine-packages/solver_state.h"

namespace muster::apk {
namespace {

// Why a package is better than another one for a name.
bool better(const Catalog& catalog, const SolverState& state, const Offer& a, const Offer& b) {
    const PackageState &left = state.packages[a.package], &right = state.packages[b.package];
    if (left.out() != right.out()) return right.out();
    if (left.against != right.against) return left.against < right.against;
    if (a.versioned && b.versioned) {
        Order order = compare_versions(a.version, b.version);
        if (order != Order::equal) return order == Order::greater;
    }
    const CatalogPackage &x = catalog.package(a.package), &y = catalog.package(b.package);
    if (x.name == y.name) {
        Order order = compare_versions(x.version, y.version);
        if (order != Order::equal) return order == Order::greater;
    }
    if (x.priority != y.priority) return x.priority > y.priority;
    return std::countr_zero(x.repositories) < std::countr_zero(y.repositories);
}

class Solver {
  public:
    Solver(Catalog& catalog, SolverState& state) : catalog_(catalog), state_(state) {}

    Result<> run(const std::vector<std::string>& wanted) {
        for (const std::string& word : wanted) {
            auto need = catalog_.parse_need(word);
            if (!need) return need.error();
            if (!need->says.tag.empty())
                return Error{word + " is wanted\n  no repository has the tag " +
                             std::string(need->says.tag)};
            state_.world.push_back(*need);
        }
        for (const Need& need : state_.world)
            see(need.name);
        for (const Need& need : state_.world)
            require(need, nobody);
        for (;;) {
            settle();
            NameId name = next();
            if (name == nobody) return {};
            if (auto done = decide(name); !done) return done.error();
        }
    }

  private:
    NameState& name(NameId id) { return state_.name(id); }
    PackageState& package(PackageId id) { return state_.packages[id]; }

    // Takes notice of all that may come into it by way of NAME.
    void see(NameId first) {
        std::vector<NameId> todo = {first};
        while (!todo.empty()) {
            NameId id = todo.back();
            todo.pop_back();
            if (name(id).seen) continue;
            name(id).seen = true;
            for (const Offer& offer : catalog_.offers(id))
                see_package(offer.package, todo);
        }
    }

    void see_package(PackageId id, std::vector<NameId>& todo) {
        if (package(id).seen) return;
        package(id).seen = package(id).recheck = true;
        for (const Need& need : catalog_.depends(id)) {
            name(need.name).users.push_back(id);
            todo.push_back(need.name);
        }
        for (const auto& [offered, offer] : catalog_.offered_by(id))
            touch(offered);
        if (!catalog_.package(id).usable) package(id).why = {Reason::unusable, nobody, {}};
    }

    void touch(NameId id) {
        if (name(id).dirty) return;
        name(id).dirty = true;
        dirty_.push_back(id);
    }

    void require(const Need& need, PackageId by) {
        see(need.name);
        NameState& state = name(need.name);
        state.asked.push_back({by, need});
        for (const Offer& offer : catalog_.offers(need.name)) {
            bool good = satisfied_by(need, offer);
            if (good || (need.says.conflict && offer.package == by)) continue;
            ++package(offer.package).against;
            rule_out(offer.package, {Reason::against, by, need});
        }
        if (need.says.conflict) return;
        if (++state.wanted == 1) touch(need.name);
    }

    bool satisfied_by(const Need& need, const Offer& offer) const {
        bool allowed = need.says.allows(offer.version, catalog_.package(offer.package).identity);
        return allowed != need.says.conflict;
    }

    void rule_out(PackageId id, const Reason& why) {
        if (package(id).out()) return;
        package(id).why = why;
        for (const auto& [offered, offer] : catalog_.offered_by(id)) {
            touch(offered);
            recheck_users(offered);
        }
    }

    void recheck_users(NameId id) {
        for (PackageId user : name(id).users) {
            if (package(user).recheck || package(user).out()) continue;
            package(user).recheck = true;
            touch(catalog_.package(user).name);
            recheck_.push_back(user);
        }
    }

    // Until nothing changes any more.
    void settle() {
        while (!dirty_.empty()) {
            NameId id = dirty_.front();
            dirty_.pop_front();
            name(id).dirty = false;
            reconsider(id);
        }
    }

    void reconsider(NameId id) {
        for (const Offer& offer : catalog_.offers(id))
            check(offer.package);
        NameState& state = name(id);
        if (state.decided) return;
        bool triggered = false;
        int options = 0;
        for (const Offer& offer : catalog_.offers(id)) {
            triggered = triggered || package(offer.package).triggered;
            options += may_choose(id, offer) && !package(offer.package).out();
        }
        if (state.wanted == 0 && !triggered) return;
        if (options <= 1 && !state.forced) {
            state.forced = true;
            forced_.push_back(id);
        } else if (!state.queued) {
            state.queued = true;
            queue_.push_back(id);
        }
    }

    void check(PackageId id) {
        if (!package(id).recheck || package(id).out()) return;
        package(id).recheck = false;
        for (const Need& need : catalog_.depends(id)) {
            if (satisfiable(need, id)) continue;
            rule_out(id, {Reason::lacks, id, need});
            return;
        }
    }

    bool satisfiable(const Need& need, PackageId by) {
        NameState& state = name(need.name);
        if (state.decided) {
            if (state.choice.package == nobody) return need.says.conflict;
            if (need.says.conflict && state.choice.package == by) return true;
            return satisfied_by(need, state.choice);
        }
        if (need.says.conflict) return true;
        for (const Offer& offer : catalog_.offers(need.name))
            if (!package(offer.package).out() && satisfied_by(need, offer)) return true;
        return false;
    }

    NameId next() {
        while (!forced_.empty() || !queue_.empty()) {
            bool forced = !forced_.empty();
            std::deque<NameId>& queue = forced ? forced_ : queue_;
            NameId id = queue.front();
            queue.pop_front();
            (forced ? name(id).forced : name(id).queued) = false;
            if (!name(id).decided) return id;
        }
        return nobody;
    }

    // Whether this offer may be chosen without having been asked for by its own name.
    bool may_choose(NameId id, const Offer& offer) {
        if (name(id).wanted == 0 && !package(offer.package).triggered) return false;
        if (offer.versioned) return true;
        const CatalogPackage& record = catalog_.package(offer.package);
        return record.priority != 0 || name(record.name).wanted > 0;
    }

    Result<> decide(NameId id) {
        const Offer* best = nullptr;
        for (const Offer& offer : catalog_.offers(id)) {
            if (!may_choose(id, offer)) continue;
            if (!best || better(catalog_, state_, offer, *best)) best = &offer;
        }
        if (name(id).wanted == 0 && (!best || package(best->package).out())) return {};
        if (!best || package(best->package).out()) return explain(catalog_, state_, id);
        return choose(best->package);
    }

    Result<> choose(PackageId id) {
        package(id).chosen = true;
        state_.chosen.push_back(id);
        auto offered = catalog_.offered_by(id);
        for (const auto& [offered_name, offer] : offered)
            assign(offered_name, offer);
        for (const Need& need : catalog_.depends(id))
            require(need, id);
        for (const auto& [offered_name, offer] : offered)
            trigger(offered_name);
        return {};
    }

    void assign(NameId id, const Offer& choice) {
        NameState& state = name(id);
        if (!state.decided) {
            state.decided = true;
            state.choice = choice;
        }
        for (const Offer& other : catalog_.offers(id)) {
            if (other.package == choice.package) continue;
            if (!other.versioned && !choice.versioned) continue;
            rule_out(other.package, {Reason::taken, choice.package, {id, {}}});
        }
        recheck_users(id);
    }

    // Packages whose install_if has just come true.
    void trigger(NameId id) {
        for (PackageId candidate : catalog_.triggered_by(id)) {
            if (package(candidate).triggered || package(candidate).chosen) continue;
            bool all = true;
            for (const Need& need : catalog_.install_if(candidate)) {
                const NameState& state = name(need.name);
                all = all && state.decided && satisfied_by(need, state.choice);
            }
            if (!all || !catalog_.package(candidate).usable) continue;
            package(candidate).triggered = true;
            see(catalog_.package(candidate).name);
            touch(catalog_.package(candidate).name);
        }
    }

    Catalog& catalog_;
    SolverState& state_;
    std::deque<NameId> dirty_, queue_, forced_;
    std::vector<PackageId> recheck_;
};

} // namespace

Result<std::vector<PackageId>> solve(Catalog& catalog, const std::vector<std::string>& wanted) {
    SolverState state(catalog.package_count(), catalog.name_count());
    if (auto done = Solver(catalog, state).run(wanted); !done) return done.error();
    return install_order(catalog, state);
}

} // namespace muster::apk
