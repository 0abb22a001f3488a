#include "alpine-packages/closure.h"

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <unordered_map>

#include "alpine-packages/version.h"

namespace muster::apk {
namespace {

struct Candidate {
    Chosen package;
    std::string version; // of the name asked for; "" where it is provided without
    bool named = false;  // the package's own name
};

class Closure {
  public:
    explicit Closure(const std::vector<std::vector<IndexEntry>>& indexes) {
        for (std::size_t repository = 0; repository < indexes.size(); ++repository) {
            for (const IndexEntry& entry : indexes[repository]) {
                Chosen package{&entry, repository};
                offers_[entry.name].push_back({package, entry.version, true});
                for (const std::string& word : entry.provides) {
                    std::size_t equals = std::min(word.find('='), word.size());
                    offers_[word.substr(0, equals)].push_back(
                        {package, word.substr(std::min(equals + 1, word.size())), false});
                }
            }
        }
    }

    // WHO asks, for messages.
    Result<> need(const std::string& word, const std::string& who) {
        auto dependency = parse_dependency(word);
        if (!dependency) return dependency.error().with_context(who);
        if (dependency->conflict) {
            conflicts_.push_back({*dependency, who});
            return {};
        }
        auto offers = offers_.find(dependency->name);
        std::vector<const Candidate*> usable;
        std::string others;
        if (offers != offers_.end()) {
            for (const Candidate& candidate : offers->second) {
                if (dependency->allows(candidate.version))
                    usable.push_back(&candidate);
                else
                    others += (others.empty() ? "" : ", ") + candidate.package.entry->full_name();
            }
        }
        if (usable.empty()) {
            std::string message = who + ": needs " + dependency->text() + ", which no package ";
            return Error{message +
                         (others.empty() ? "has or provides" : "satisfies; there is " + others)};
        }
        for (const Candidate* candidate : usable) {
            auto chosen = chosen_.find(candidate->package.entry->name);
            if (chosen != chosen_.end() && chosen->second.entry == candidate->package.entry)
                return {};
        }
        return choose(*dependency, usable, who);
    }

    // The packages that were chosen and whose dependencies nobody has looked at yet.
    bool next(Chosen& out) {
        if (queue_.empty()) return false;
        out = queue_.front();
        queue_.pop_front();
        return true;
    }

    Result<> check_conflicts() const {
        for (const auto& [dependency, who] : conflicts_) {
            auto offers = offers_.find(dependency.name);
            if (offers == offers_.end()) continue;
            for (const Candidate& candidate : offers->second) {
                auto chosen = chosen_.find(candidate.package.entry->name);
                if (chosen == chosen_.end() || chosen->second.entry != candidate.package.entry)
                    continue;
                if (candidate.package.entry->full_name() == who) continue;
                if (dependency.allows(candidate.version))
                    return Error{who + ": conflicts with " + candidate.package.entry->full_name() +
                                 " (" + dependency.text() + ")"};
            }
        }
        return {};
    }

    std::vector<Chosen> result() const {
        std::vector<Chosen> out;
        for (const auto& [name, chosen] : chosen_)
            out.push_back(chosen);
        return out;
    }

  private:
    static bool better(const Candidate& a, const Candidate& b) {
        if (a.version.empty() != b.version.empty()) return b.version.empty();
        if (!a.version.empty()) {
            Order order = compare_versions(a.version, b.version);
            if (order != Order::equal) return order == Order::greater;
        }
        // equal versions of the name: the package that is called so
        if (a.named != b.named) return a.named;
        int a_priority = a.package.entry->provider_priority.value_or(-1);
        int b_priority = b.package.entry->provider_priority.value_or(-1);
        if (a_priority != b_priority) return a_priority > b_priority;
        Order order = compare_versions(a.package.entry->version, b.package.entry->version);
        if (order != Order::equal) return order == Order::greater;
        if (a.package.repository != b.package.repository)
            return a.package.repository < b.package.repository;
        return a.package.entry->name < b.package.entry->name;
    }

    Result<> choose(const Dependency& dependency, const std::vector<const Candidate*>& usable,
                    const std::string& who) {
        const Candidate* best = usable.front();
        for (const Candidate* candidate : usable)
            if (better(*candidate, *best)) best = candidate;
        const IndexEntry& entry = *best->package.entry;
        if (best->version.empty() && !entry.provider_priority) {
            std::set<std::string> names;
            for (const Candidate* candidate : usable)
                names.insert(candidate->package.entry->name);
            std::string message = who + ": needs " + dependency.text() +
                                  ", which has to be chosen by name; providers are";
            for (const std::string& name : names)
                message += " " + name;
            return Error{message};
        }
        auto [place, fresh] = chosen_.emplace(entry.name, best->package);
        if (!fresh)
            return Error{who + ": needs " + dependency.text() + ", but " +
                         place->second.entry->full_name() +
                         " was chosen before and does not satisfy it; choosing again is not "
                         "supported"};
        queue_.push_back(best->package);
        return {};
    }

    std::unordered_map<std::string, std::vector<Candidate>> offers_;
    std::map<std::string, Chosen> chosen_;
    std::deque<Chosen> queue_;
    std::vector<std::pair<Dependency, std::string>> conflicts_;
};

} // namespace

Result<std::vector<Chosen>> find_closure(const std::vector<std::vector<IndexEntry>>& indexes,
                                         const std::vector<std::string>& wanted) {
    Closure closure(indexes);
    for (const std::string& word : wanted)
        if (auto done = closure.need(word, "the package list"); !done) return done.error();
    Chosen package;
    while (closure.next(package))
        for (const std::string& word : package.entry->depends)
            if (auto done = closure.need(word, package.entry->full_name()); !done)
                return done.error();
    if (auto done = closure.check_conflicts(); !done) return done.error();
    return closure.result();
}

} // namespace muster::apk
