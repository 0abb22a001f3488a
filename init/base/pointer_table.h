// A hash table of pointers to objects that their owner keeps elsewhere. Open addressing with linear
// probing; the hashes stand beside the pointers, so that neither searching nor growing looks at the
// objects. Erasing moves what follows up, so there are no tombstones.
#pragma once

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
        const uint32_t tag = tag_of(hash);
        for (size_t i = tag & mask_;; i = (i + 1) & mask_) {
            if (!items_[i]) return nullptr;
            if (tags_[i] == tag && equal(*items_[i])) return items_[i];
        }
    }

    void insert(uint64_t hash, T* item) {
        if (size_ >= limit()) resize(items_ ? (mask_ + 1) * 2 : first_capacity);
        place(tag_of(hash), item);
        ++size_;
    }

    // REQUIRES: it was inserted with this hash.
    void erase(uint64_t hash, const T* item) {
        size_t hole = tag_of(hash) & mask_;
        while (items_[hole] != item)
            hole = (hole + 1) & mask_;
        for (size_t i = (hole + 1) & mask_; items_[i]; i = (i + 1) & mask_) {
            // It may move up unless its own place lies between the hole and it.
            if (((i - tags_[i]) & mask_) < ((i - hole) & mask_)) continue;
            items_[hole] = items_[i];
            tags_[hole] = tags_[i];
            hole = i;
        }
        items_[hole] = nullptr;
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
            if (items_[i]) visit(*items_[i]);
    }

  private:
    static constexpr size_t first_capacity = 4;

    static uint32_t tag_of(uint64_t hash) { return static_cast<uint32_t>(hash ^ hash >> 32); }
    size_t limit() const { return items_ ? (mask_ + 1) - (mask_ + 1) / 8 - 1 : 0; }

    void place(uint32_t tag, T* item) {
        size_t i = tag & mask_;
        while (items_[i])
            i = (i + 1) & mask_;
        items_[i] = item;
        tags_[i] = tag;
    }

    void resize(size_t capacity) {
        const std::unique_ptr<T*[]> items = std::move(items_);
        const std::unique_ptr<uint32_t[]> tags = std::move(tags_);
        const size_t count = items ? mask_ + 1 : 0;
        items_ = std::make_unique<T*[]>(capacity);
        tags_ = std::make_unique_for_overwrite<uint32_t[]>(capacity);
        mask_ = capacity - 1;
        for (size_t i = 0; i < count; ++i)
            if (items[i]) place(tags[i], items[i]);
    }

    // A small table stays for the next one.
    void release() {
        if (mask_ + 1 <= 64) return;
        items_.reset();
        tags_.reset();
        mask_ = 0;
    }

    std::unique_ptr<T*[]> items_;
    std::unique_ptr<uint32_t[]> tags_;
    size_t mask_ = 0;
    size_t size_ = 0;
};

} // namespace muster
