// For a walk over services that are tied to each other, each seen once; without recursion, since
// chains may be long.
#pragma once

#include <unordered_set>
#include <utility>
#include <vector>

#include "init/preserves/value.h"

namespace muster::services {

class ToSee {
  public:
    explicit ToSee(preserves::View first) { add(preserves::Value(first)); }
    // Unless it was added before.
    void add(const preserves::Value& name) {
        if (all_.insert(name).second) open_.push_back(name);
    }
    bool empty() const { return open_.empty(); }
    // REQUIRES: not empty.
    preserves::Value next() {
        preserves::Value name = std::move(open_.back());
        open_.pop_back();
        return name;
    }
    // Whether it was ever added.
    bool has(const preserves::Value& name) const { return all_.count(name) > 0; }

  private:
    std::unordered_set<preserves::Value, preserves::ValueHash, preserves::ValueEqual> all_;
    std::vector<preserves::Value> open_;
};

} // namespace muster::services
