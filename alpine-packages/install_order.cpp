#include "alpine-packages/install_order.h"

#include <set>
#include <utility>

namespace muster::apk {
namespace {

class Placing {
  public:
    Placing(Catalog& catalog, SolverState& state)
        : catalog_(catalog), state_(state), entered_(state.packages.size()),
          done_(state.packages.size()) {}

    std::vector<PackageId> run() {
        for (const Need& need : state_.world) {
            PackageId id = choice(need);
            if (id != nobody) place(id);
        }
        // install_if that only came true by what stands in a circle
        for (PackageId id : state_.chosen)
            place(id);
        return std::move(out_);
    }

  private:
    struct Frame {
        PackageId package;
        std::size_t next = 0; // dependencies, then what it triggers
        std::vector<PackageId> triggered = {};
        bool placed = false;
    };

    PackageId choice(const Need& need) {
        const NameState& state = state_.name(need.name);
        return need.says.conflict || !state.decided ? nobody : state.choice.package;
    }

    void enter(PackageId id) {
        if (id == nobody || entered_[id]) return;
        entered_[id] = true;
        stack_.push_back({id});
    }

    void place(PackageId first) {
        enter(first);
        while (!stack_.empty()) {
            Frame& frame = stack_.back();
            if (!frame.placed) {
                auto needs = catalog_.depends(frame.package);
                if (frame.next < needs.size()) {
                    enter(choice(needs[frame.next++]));
                    continue;
                }
                out_.push_back(frame.package);
                done_[frame.package] = frame.placed = true;
                frame.next = 0;
                frame.triggered = triggered(frame.package);
            }
            if (frame.next < frame.triggered.size()) {
                enter(frame.triggered[frame.next++]);
                continue;
            }
            stack_.pop_back();
        }
    }

    // Whether something that it depends on, near or far, waits on the stack for its own
    // dependencies: placed now, it would come before that.
    bool too_early(PackageId id) {
        std::vector<PackageId> todo = {id};
        std::set<PackageId> seen = {id};
        while (!todo.empty()) {
            PackageId one = todo.back();
            todo.pop_back();
            for (const Need& need : catalog_.depends(one)) {
                PackageId needed = choice(need);
                if (needed == nobody || done_[needed] || !seen.insert(needed).second) continue;
                if (entered_[needed]) return true;
                todo.push_back(needed);
            }
        }
        return false;
    }

    // Chosen packages of which all that install_if lists is placed now, and those that were too
    // early before.
    std::vector<PackageId> triggered(PackageId id) {
        std::vector<PackageId> out, early;
        for (PackageId candidate : std::exchange(early_, {})) {
            if (entered_[candidate]) continue;
            (too_early(candidate) ? early : out).push_back(candidate);
        }
        for (const auto& [name, offer] : catalog_.offered_by(id)) {
            for (PackageId candidate : catalog_.triggered_by(name)) {
                if (!state_.packages[candidate].chosen || entered_[candidate]) continue;
                bool all = true;
                for (const Need& need : catalog_.install_if(candidate)) {
                    PackageId one = choice(need);
                    all = all && (one == nobody || done_[one]);
                }
                if (all) (too_early(candidate) ? early : out).push_back(candidate);
            }
        }
        early_.insert(early_.end(), early.begin(), early.end());
        return out;
    }

    Catalog& catalog_;
    SolverState& state_;
    std::vector<bool> entered_, done_;
    std::vector<Frame> stack_;
    std::vector<PackageId> out_, early_;
};

} // namespace

std::vector<PackageId> install_order(Catalog& catalog, SolverState& state) {
    return Placing(catalog, state).run();
}

} // namespace muster::apk
