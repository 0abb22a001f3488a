#include "init/dataspace/selector.h"

#include <algorithm>

namespace muster::dataspace {

namespace {

bool same_path(const Path& a, const Path& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Step& x, const Step& y) {
        return x.index == y.index && x.key == y.key;
    });
}

void set(std::vector<uint64_t>& bits, size_t index, bool value) {
    const uint64_t mask = uint64_t{1} << index % 64;
    if (value)
        bits[index / 64] |= mask;
    else
        bits[index / 64] &= ~mask;
}

} // namespace

// One use more or less of `shape`. True if it is the first or was the last.
bool Selector::change(std::vector<Use>& uses, size_t shape, bool add) {
    auto at = std::find_if(uses.begin(), uses.end(), [&](Use& use) { return use.shape == shape; });
    if (add) {
        if (at != uses.end()) {
            ++at->count;
            return false;
        }
        uses.push_back({static_cast<uint32_t>(shape), 1});
        return true;
    }
    if (--at->count > 0) return false;
    *at = uses.back();
    uses.pop_back();
    return true;
}

Selector::Probe& Selector::probe_at(const Path& path) {
    for (auto& probe : probes_)
        if (same_path(probe->path, path)) return *probe;
    probes_.push_back(std::make_unique<Probe>());
    probes_.back()->path = path;
    return *probes_.back();
}

void Selector::add(size_t shape, const std::vector<Path>& paths, View constants) {
    auto constant = constants.items().begin();
    for (const Path& path : paths) {
        Probe& probe = probe_at(path);
        change(probe.users, shape, true);
        if (probe.others.size() <= shape / 64) probe.others.resize(shape / 64 + 1, ~uint64_t{0});
        set(probe.others, shape, false);
        View value = *constant;
        const uint64_t hash = value.hash();
        Constant* known =
            probe.constants.find(hash, [&](Constant& c) { return c.value.view() == value; });
        if (!known) {
            known = new Constant{Value(value), {}};
            probe.constants.insert(hash, known);
        }
        change(known->uses, shape, true);
        ++constant;
    }
}

void Selector::remove(size_t shape, const std::vector<Path>& paths, View constants) {
    auto constant = constants.items().begin();
    for (const Path& path : paths) {
        Probe& probe = probe_at(path);
        if (change(probe.users, shape, false)) set(probe.others, shape, true);
        View value = *constant;
        const uint64_t hash = value.hash();
        Constant* known =
            probe.constants.find(hash, [&](Constant& c) { return c.value.view() == value; });
        change(known->uses, shape, false);
        if (known->uses.empty()) {
            probe.constants.erase(hash, known);
            delete known;
        }
        ++constant;
    }
    std::erase_if(probes_, [](const auto& probe) { return probe->users.empty(); });
}

void Selector::narrow(Fields& fields, size_t shapes) {
    live_.assign((shapes + 63) / 64, ~uint64_t{0});
    if (shapes % 64) live_.back() = (uint64_t{1} << shapes % 64) - 1;
    for (const auto& probe : probes_) {
        allowed_ = probe->others;
        allowed_.resize(live_.size(), ~uint64_t{0});
        View value = fields.walk(probe->path);
        if (value.valid()) {
            Constant* known = probe->constants.find(
                value.hash(), [&](Constant& c) { return c.value.view() == value; });
            if (known)
                for (const Use& use : known->uses)
                    set(allowed_, use.shape, true);
        }
        for (size_t i = 0; i < live_.size(); ++i)
            live_[i] &= allowed_[i];
    }
}

} // namespace muster::dataspace
