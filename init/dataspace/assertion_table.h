// The assertions that are alive in this process, as their makers see them.
//
// A slot holds one assertion from `add` to `free`: first it is in the list of its facet; when it is
// retracted it leaves that (`unlink`) and stays until the retraction has been delivered or dropped,
// so that the receiver's note on it is there for the last event too. A handle is the slot's number,
// from 1, and in the upper half how often the slot was used before: a handle of the past is known
// for what it is.
#pragma once

#include <memory>
#include <vector>

#include "init/dataspace/actor.h"

namespace muster::dataspace {

class AssertionTable {
  public:
    struct Slot {
        CapRef target;
        Facet* facet = nullptr; // whose list it is in; null: it is in none
        void* note = nullptr;   // the receiver's
        uint32_t newer = 0;     // in that list; or the next free slot
        uint32_t older = 0;
        uint32_t uses = 0;
        bool used = false;
    };

    Handle add(const CapRef& target) {
        if (free_ == 0) grow();
        const uint32_t number = free_;
        Slot& slot = at(number);
        free_ = slot.newer;
        slot.newer = 0;
        slot.used = true;
        slot.target = target;
        return static_cast<Handle>(slot.uses) << 32 | number;
    }

    // Null if that assertion is gone.
    Slot* find(Handle handle) {
        const uint32_t number = static_cast<uint32_t>(handle);
        if (number == 0 || number > chunks_.size() * chunk) return nullptr;
        Slot& slot = at(number);
        return slot.used && slot.uses == handle >> 32 ? &slot : nullptr;
    }
    // REQUIRES: it is not gone.
    Slot& operator[](Handle handle) { return at(static_cast<uint32_t>(handle)); }

    // Lists of facets: `newest` is the number of the first slot, 0 for an empty list.
    void link(Handle handle, Facet& facet, uint32_t& newest) {
        const uint32_t number = static_cast<uint32_t>(handle);
        Slot& slot = at(number);
        slot.facet = &facet;
        slot.older = newest;
        slot.newer = 0;
        if (newest) at(newest).newer = number;
        newest = number;
    }
    void unlink(Slot& slot, uint32_t& newest) {
        if (slot.newer)
            at(slot.newer).older = slot.older;
        else
            newest = slot.older;
        if (slot.older) at(slot.older).newer = slot.newer;
        slot.facet = nullptr;
    }
    Handle handle_of(uint32_t number) {
        return static_cast<Handle>(at(number).uses) << 32 | number;
    }

    void free(Handle handle) {
        Slot* slot = find(handle);
        if (!slot) return;
        slot->used = false;
        ++slot->uses;
        slot->note = nullptr;
        slot->newer = free_;
        slot->older = 0;
        free_ = static_cast<uint32_t>(handle);
        CapRef last = std::move(slot->target); // may end what frees further ones
    }

    size_t capacity() const { return chunks_.size() * chunk; }

  private:
    static constexpr size_t chunk = 64;

    Slot& at(uint32_t number) { return chunks_[(number - 1) / chunk][(number - 1) % chunk]; }
    void grow() {
        const uint32_t first = static_cast<uint32_t>(capacity()) + 1;
        chunks_.push_back(std::make_unique<Slot[]>(chunk));
        for (uint32_t i = 0; i < chunk; ++i)
            at(first + i).newer = i + 1 < chunk ? first + i + 1 : 0;
        free_ = first;
    }

    std::vector<std::unique_ptr<Slot[]>> chunks_;
    uint32_t free_ = 0;
};

} // namespace muster::dataspace
