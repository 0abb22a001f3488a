#include "netlink/module_tables.h"

#include <algorithm>
#include <functional>
#include <map>

#include "netlink/files.h"
#include "netlink/glob.h"

namespace muster::netlink {

namespace {

// "kernel/drivers/net/virtio_net.ko.xz" -> "virtio_net"
std::string name_of_file(std::string_view path) {
    path.remove_prefix(path.rfind('/') + 1);
    return module_name(path.substr(0, path.find(".ko")));
}

// Which texts a pattern matches, found by the pattern's beginning among the sorted texts.
class Texts {
  public:
    explicit Texts(const std::vector<std::string_view>& texts) {
        for (size_t i = 0; i < texts.size(); ++i)
            sorted_.push_back({texts[i], i});
        std::sort(sorted_.begin(), sorted_.end(),
                  [](const Text& a, const Text& b) { return compare_names(a.text, b.text) < 0; });
    }

    // Calls found(i) for each of the texts that was at i and matches.
    template <typename Found>
    void matching(std::string_view pattern, Found found) const {
        const std::string_view prefix = pattern.substr(0, literal_prefix(pattern));
        auto at = std::lower_bound(
            sorted_.begin(), sorted_.end(), prefix,
            [](const Text& t, std::string_view p) { return compare_names(t.text, p) < 0; });
        for (; at != sorted_.end(); ++at) {
            if (compare_names(at->text.substr(0, prefix.size()), prefix) != 0) return;
            if (glob_matches(pattern.substr(prefix.size()), at->text.substr(prefix.size())))
                found(at->index);
        }
    }

  private:
    struct Text {
        std::string_view text;
        size_t index; // where it was
    };
    std::vector<Text> sorted_;
};

// For each text the modules whose aliases match it.
std::vector<std::vector<std::string>> match_aliases(const std::vector<std::string_view>& texts,
                                                    const std::string& folder,
                                                    const ModprobeConfig& config) {
    std::vector<std::vector<std::string>> modules(texts.size());
    const Texts wanted(texts);
    const auto take = [&](std::string_view pattern, std::string_view module) {
        wanted.matching(pattern, [&](size_t i) {
            std::string name = module_name(module);
            auto& list = modules[i];
            if (config.blacklist.contains(name) || config.never.contains(name)) return;
            if (std::find(list.begin(), list.end(), name) == list.end())
                list.push_back(std::move(name));
        });
    };
    for (const auto& [pattern, module] : config.aliases)
        take(pattern, module);
    LineFile file(folder + "/modules.alias");
    for (std::string_view line; file.next(line);) {
        if (!line.starts_with("alias ")) continue;
        line.remove_prefix(6);
        const std::string_view pattern = take_word(line);
        const std::string_view module = take_word(line);
        if (!module.empty()) take(pattern, module);
    }
    return modules;
}

// What is known of a name: a module with its file and what it needs, or an alias for others.
struct Known {
    std::string path;               // empty: no module
    std::vector<std::string> needs; // paths, what is needed first comes last
    std::vector<std::string> stands_for;
};
using Names = std::map<std::string, Known, std::less<>>;

class Resolver {
  public:
    Resolver(const std::string& folder, const ModprobeConfig& config)
        : folder_(folder), config_(config) {}

    // Learns what `names` are, and those they bring in.
    void learn(std::vector<std::string> names);
    // Appends `name` and what it depends on, as far as it is not there yet.
    void append(const std::string& name, const std::string& device, std::vector<ModuleToLoad>& out);

  private:
    void add_softdeps(const std::string& name, std::vector<std::string>& names) const;

    const std::string& folder_;
    const ModprobeConfig& config_;
    Names known_;
    std::set<std::string, std::less<>> appended_;
};

void Resolver::add_softdeps(const std::string& name, std::vector<std::string>& names) const {
    const auto found = config_.softdeps.find(name);
    if (found == config_.softdeps.end()) return;
    const auto& [before, after] = found->second;
    names.insert(names.end(), before.begin(), before.end());
    names.insert(names.end(), after.begin(), after.end());
}

void Resolver::learn(std::vector<std::string> names) {
    while (!names.empty()) {
        std::map<std::string, Known*, std::less<>> open; // those to be found in this round
        for (std::string& name : names) {
            auto [at, is_new] = known_.try_emplace(std::move(name));
            if (is_new) open.emplace(at->first, &at->second);
        }
        names.clear();
        if (open.empty()) return;

        LineFile file(folder_ + "/modules.dep");
        for (std::string_view line; !open.empty() && file.next(line);) {
            const size_t colon = line.find(':');
            if (colon == std::string_view::npos) continue;
            const std::string_view path = line.substr(0, colon);
            const auto found = open.find(name_of_file(path));
            if (found == open.end()) continue;
            Known& known = *found->second;
            known.path = path;
            add_softdeps(found->first, names);
            line.remove_prefix(colon + 1);
            for (std::string_view word; !(word = take_word(line)).empty();) {
                add_softdeps(name_of_file(word), names);
                known.needs.emplace_back(word);
            }
            open.erase(found);
        }
        if (open.empty()) continue;

        std::vector<std::string_view> aliases;
        for (const auto& [name, known] : open)
            aliases.push_back(name);
        auto modules = match_aliases(aliases, folder_, config_);
        size_t i = 0;
        for (const auto& [name, known] : open) {
            names.insert(names.end(), modules[i].begin(), modules[i].end());
            known->stands_for = std::move(modules[i++]);
        }
    }
}

void Resolver::append(const std::string& name, const std::string& device,
                      std::vector<ModuleToLoad>& out) {
    // What is still to be done, the next one last.
    struct Step {
        std::string name;
        std::string path;   // known already, for what modules.dep lists
        bool ready = false; // what it needs was done
    };
    std::vector<Step> steps;
    steps.push_back({name, "", false});
    while (!steps.empty()) {
        Step step = std::move(steps.back());
        steps.pop_back();
        if (step.ready) {
            const auto options = config_.options.find(step.name);
            if (step.path[0] != '/') step.path.insert(0, folder_ + '/');
            out.push_back({std::move(step.name), std::move(step.path),
                           options == config_.options.end() ? "" : options->second, device});
            continue;
        }
        if (config_.never.contains(step.name) || !appended_.insert(step.name).second) continue;
        const auto found = known_.find(step.name);
        const Known* known = found == known_.end() ? nullptr : &found->second;
        if (step.path.empty() && known) step.path = known->path;
        if (step.path.empty()) {
            for (size_t i = known ? known->stands_for.size() : 0; i-- > 0;)
                steps.push_back({known->stands_for[i], "", false});
            continue;
        }
        const auto softdep = config_.softdeps.find(step.name);
        const auto* soft = softdep == config_.softdeps.end() ? nullptr : &softdep->second;
        for (size_t i = soft ? soft->after.size() : 0; i-- > 0;)
            steps.push_back({soft->after[i], "", false});
        steps.push_back({step.name, step.path, true});
        for (size_t i = 0; known && i < known->needs.size(); ++i)
            steps.push_back({name_of_file(known->needs[i]), known->needs[i], false});
        for (size_t i = soft ? soft->before.size() : 0; i-- > 0;)
            steps.push_back({soft->before[i], "", false});
    }
}

} // namespace

std::vector<ModuleToLoad> modules_for(std::span<const ModuleRequest> requests,
                                      const std::string& folder, const ModprobeConfig& config) {
    std::vector<std::string_view> texts;
    for (const ModuleRequest& request : requests)
        texts.push_back(request.alias);
    const auto matches = match_aliases(texts, folder, config);

    Resolver resolver(folder, config);
    std::vector<std::string> names;
    for (const auto& list : matches)
        names.insert(names.end(), list.begin(), list.end());
    resolver.learn(std::move(names));
    std::vector<ModuleToLoad> out;
    for (size_t i = 0; i < matches.size(); ++i) {
        for (const std::string& name : matches[i])
            resolver.append(name, requests[i].device, out);
    }
    return out;
}

} // namespace muster::netlink
