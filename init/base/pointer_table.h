// A hash table of pointers to objects that their owner keeps elsewhere. Open addressing with linear
// probing. A place is one word: the pointer, and in the 16 bits that no address in user space needs
// (x86-64: 47, AArch64: 48 bits) how far it lies from where its hash belongs, and six bits of the
// hash. So searching looks at no object that is not likely the one, and erasing, which moves what
// follows up (there are no tombstones), at none but those that lie very far away. Growing asks each
// object for its hash: T has `uint64_t table_hash() const`, the same for as long as it is in the
// table. There is room for 2^31 objects.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace muster {

template <typename T>
class PointerTable {
  public:
    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }

    // The object with this hash for which `equal` is true, or null.
    template <typename Equal>
    T* find(uint64_t hash, Equal equal) const {
        if (size_ == 0) return nullptr;
        size_t i = home(hash);
        for (uint64_t distance = 0;; ++distance, i = (i + 1) & mask_) {
            if (!items_[i]) return nullptr;
            if (items_[i] >> pointer_bits == mark(hash, distance) && equal(*pointer(i)))
                return pointer(i);
        }
    }

    // REQUIRES: it has this hash, as below.
    void insert(uint64_t hash, T* item) {
        if (size_ >= limit()) resize(items_ ? (mask_ + 1) * 2 : first_capacity);
        place(hash, item);
        ++size_;
    }

    // REQUIRES: it is there.
    void erase(uint64_t hash, const T* item) {
        size_t hole = home(hash);
        while (pointer(hole) != item)
            hole = (hole + 1) & mask_;
        for (size_t i = (hole + 1) & mask_; items_[i]; i = (i + 1) & mask_) {
            // It may move up unless its own place lies between the hole and it.
            const uint64_t gap = (i - hole) & mask_;
            const uint64_t distance = distance_of(i);
            if (distance < gap) continue;
            items_[hole] = with_distance(items_[i], distance - gap);
            hole = i;
        }
        items_[hole] = 0;
        --size_;
        if (size_ == 0)
            release();
        else if (mask_ + 1 > first_capacity * 2 && size_ < (mask_ + 1) / 8)
            resize((mask_ + 1) / 4);
    }

    // Calls visit(T&) for each. Nothing may be inserted or erased meanwhile.
    template <typename Visit>
    void for_each(Visit visit) const {
        if (!items_) return;
        for (size_t i = 0; i <= mask_; ++i)
            if (items_[i]) visit(*pointer(i));
    }

  private:
    static constexpr uint32_t first_capacity = 4;
    static constexpr int pointer_bits = 48;
    static constexpr int distance_shift = 6; // within the mark: 6 bits of the hash, 10 of distance
    // Says "this far or farther": the object must be asked.
    static constexpr uint64_t farthest = 1023;

    static uint64_t mark(uint64_t hash, uint64_t distance) {
        return hash >> 58 | std::min(distance, farthest) << distance_shift;
    }
    static uint64_t with_distance(uint64_t word, uint64_t distance) {
        constexpr int shift = pointer_bits + distance_shift;
        return (word & ((uint64_t{1} << shift) - 1)) | std::min(distance, farthest) << shift;
    }
    size_t home(uint64_t hash) const { return (hash ^ hash >> 32) & mask_; }
    static T* pointer_in(uint64_t word) {
        constexpr uint64_t address = (uint64_t{1} << pointer_bits) - 1;
        return reinterpret_cast<T*>(static_cast<uintptr_t>(word & address));
    }
    T* pointer(size_t i) const { return pointer_in(items_[i]); }
    uint64_t distance_of(size_t i) const {
        const uint64_t distance = items_[i] >> (pointer_bits + distance_shift);
        return distance < farthest ? distance : (i - home(pointer(i)->table_hash())) & mask_;
    }
    uint32_t limit() const { return items_ ? (mask_ + 1) - (mask_ + 1) / 8 - 1 : 0; }

    void place(uint64_t hash, T* item) {
        size_t i = home(hash);
        uint64_t distance = 0;
        for (; items_[i]; i = (i + 1) & mask_)
            ++distance;
        items_[i] = reinterpret_cast<uintptr_t>(item) | mark(hash, distance) << pointer_bits;
    }

    void resize(uint32_t capacity) {
        const std::unique_ptr<uint64_t[]> items = std::move(items_);
        const size_t count = items ? size_t{mask_} + 1 : 0;
        items_ = std::make_unique<uint64_t[]>(capacity);
        mask_ = capacity - 1;
        for (size_t i = 0; i < count; ++i)
            if (T* const item = pointer_in(items[i])) place(item->table_hash(), item);
    }

    // A small table stays for the next one.
    void release() {
        if (mask_ + 1 <= 64) return;
        items_.reset();
        mask_ = 0;
    }

    std::unique_ptr<uint64_t[]> items_;
    uint32_t mask_ = 0;
    uint32_t size_ = 0;
};

} // namespace muster
