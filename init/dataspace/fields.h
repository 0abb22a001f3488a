// Quick access to the fields of one value, for many paths into it: where its first fields begin is
// found once.
#pragma once

#include "init/dataspace/pattern.h"

namespace muster::dataspace {

class Fields {
  public:
    explicit Fields(View value) : value_(value) {
        using preserves::Kind;
        indexed_ = value.is(Kind::record) || value.is(Kind::sequence);
        if (!indexed_) return;
        const uint8_t* first = value.bytes().data() + 1;
        start_[0] = value.is(Kind::record) ? preserves::skip_value(first) : first;
    }

    View value() const { return value_; }

    // REQUIRES: a record.
    View label() const {
        const uint8_t* at = value_.bytes().data() + 1;
        return {preserves::Bytes(at, start_[0]), value_.may_embed()};
    }

    // As View::at.
    View at(uint32_t index) {
        if (!indexed_) return {};
        if (index >= max_known) return value_.at(index);
        while (known_ <= index) {
            const uint8_t* here = start_[known_];
            if (*here == preserves::tag::end) return {};
            start_[++known_] = preserves::skip_value(here);
        }
        return {preserves::Bytes(start_[index], start_[index + 1]), value_.may_embed()};
    }

    // As walk.
    View walk(const Path& path) {
        if (path.empty()) return value_;
        if (path[0].key.valid()) return dataspace::walk(value_, path);
        View found = at(path[0].index);
        for (size_t i = 1; i < path.size() && found.valid(); ++i)
            found = path[i].key.valid() ? found.get(path[i].key.view()) : found.at(path[i].index);
        return found;
    }

  private:
    static constexpr uint32_t max_known = 16;

    View value_;
    bool indexed_;
    uint32_t known_ = 0; // fields whose end is known
    const uint8_t* start_[max_known + 1];
};

} // namespace muster::dataspace
