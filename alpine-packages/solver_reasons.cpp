// Why there is no solution.
#include <algorithm>
#include <set>

#include "alpine-packages/solver_state.h"

namespace muster::apk {
namespace {

constexpr std::size_t most_reasons = 8; // lines; what comes after the first few explains little

class Reasons {
  public:
    Reasons(Catalog& catalog, SolverState& state) : catalog_(catalog), state_(state) {}

    // From what was wanted down to the name: "a-1 is wanted", "a-1 needs b".
    void how_it_came(NameId name) {
        std::vector<std::string> chain;
        std::set<NameId> passed;
        for (NameId at = name; at != nobody && passed.insert(at).second;) {
            const Asked* first = nullptr;
            for (const Asked& asked : state_.name(at).asked)
                if (!first && !asked.need.says.conflict) first = &asked;
            if (!first) break;
            chain.push_back(who(first->by, first->need));
            at = first->by == nobody ? nobody : wanted_name(first->by);
        }
        std::reverse(chain.begin(), chain.end());
        if (chain.size() > 5) {
            chain.erase(chain.begin() + 2, chain.end() - 2);
            chain.insert(chain.begin() + 2, "...");
        }
        for (const std::string& line : chain)
            say(line);
    }

    void why_not(NameId name) {
        auto offers = catalog_.offers(name);
        if (offers.empty()) {
            say("no package has or provides " + std::string(catalog_.name(name)));
            return;
        }
        bool some_out = false;
        for (const Offer& offer : offers)
            some_out = some_out || state_.packages[offer.package].out();
        std::set<PackageId> passed;
        if (some_out)
            for (const Offer& offer : offers)
                out(offer.package, passed);
        std::string virtual_ones;
        for (const Offer& offer : offers)
            if (!state_.packages[offer.package].out() && !offer.versioned)
                virtual_ones += " " + catalog_.full_name(offer.package);
        if (!virtual_ones.empty())
            say(std::string(catalog_.name(name)) + " has to be chosen by name; providers are" +
                virtual_ones);
    }

    std::string text() const {
        std::string out;
        for (const std::string& line : lines_)
            out += (out.empty() ? "" : "\n  ") + line;
        return out;
    }

  private:
    void say(const std::string& line) {
        if (lines_.size() == most_reasons) lines_.push_back("...");
        if (lines_.size() > most_reasons) return;
        if (std::find(lines_.begin(), lines_.end(), line) == lines_.end()) lines_.push_back(line);
    }

    std::string who(PackageId by, const Need& need) {
        if (by == nobody) return need.says.text() + " is wanted";
        return catalog_.full_name(by) + (need.says.conflict ? " conflicts with " : " needs ") +
               (need.says.conflict ? need.says.text().substr(1) : need.says.text());
    }

    // The name by which a chosen package was asked for.
    NameId wanted_name(PackageId id) {
        for (const auto& [name, offer] : catalog_.offered_by(id))
            if (state_.name(name).wanted > 0) return name;
        return nobody;
    }

    // Why a package is out, and why that is so, one line each.
    void out(PackageId first, std::set<PackageId>& passed) {
        std::vector<PackageId> todo = {first};
        while (!todo.empty() && lines_.size() <= most_reasons) {
            PackageId id = todo.back();
            todo.pop_back();
            const Reason why = state_.packages[id].why;
            if (why.kind == Reason::none || !passed.insert(id).second) continue;
            std::string name = catalog_.full_name(id);
            switch (why.kind) {
            case Reason::against:
                say(name + " is not it: " + who(why.by, why.need));
                break;
            case Reason::taken:
                say(name + " is not it: " + catalog_.full_name(why.by) +
                    " is chosen and has the name " + std::string(catalog_.name(why.need.name)));
                break;
            case Reason::unusable:
                say(name + " is not it: its entry in the index is not understood");
                break;
            default:
                lacks(name, why.need, todo);
            }
        }
    }

    void lacks(const std::string& name, const Need& need, std::vector<PackageId>& todo) {
        std::string word = need.says.conflict ? need.says.text().substr(1) : need.says.text();
        auto offers = catalog_.offers(need.name);
        const NameState& state = state_.name(need.name);
        if (state.decided && state.choice.package != nobody) {
            say(name + " is not it: it " + (need.says.conflict ? "conflicts with " : "needs ") +
                word + ", and " + catalog_.full_name(state.choice.package) + " is chosen");
            return;
        }
        std::string there;
        bool satisfying = false;
        for (const Offer& offer : offers) {
            bool good = need.says.allows(offer.version, catalog_.package(offer.package).identity);
            satisfying = satisfying || good;
            if (good)
                todo.push_back(offer.package);
            else
                there += (there.empty() ? "; there is " : ", ") + catalog_.full_name(offer.package);
        }
        say(name + " is not it: it needs " + word +
            (offers.empty() ? ", which no package has or provides"
             : satisfying   ? ", which cannot be had"
                            : ", which no package satisfies" + there));
    }

    Catalog& catalog_;
    SolverState& state_;
    std::vector<std::string> lines_;
};

} // namespace

Error explain(Catalog& catalog, SolverState& state, NameId name) {
    Reasons reasons(catalog, state);
    reasons.how_it_came(name);
    reasons.why_not(name);
    return Error{reasons.text()};
}

} // namespace muster::apk
