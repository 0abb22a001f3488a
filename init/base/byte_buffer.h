// A growing run of bytes for what is written piece by piece: like a vector, but appending a few
// bytes is a check and a copy.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "init/base/bytes.h"

namespace muster {

class ByteBuffer {
  public:
    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    size_t capacity() const { return capacity_; }
    const uint8_t* data() const { return bytes_.get(); }
    std::span<const uint8_t> bytes() const { return {bytes_.get(), size_}; }

    // Room for `count` more bytes, which the caller fills and then takes with `take`.
    uint8_t* room(size_t count) {
        if (capacity_ - size_ < count) grow(count);
        return bytes_.get() + size_;
    }
    void take(size_t count) { size_ += count; }

    void append(const void* from, size_t count) {
        copy_bytes(room(count), static_cast<const uint8_t*>(from), count);
        size_ += count;
    }
    void append(std::span<const uint8_t> from) { append(from.data(), from.size()); }
    void push_back(uint8_t byte) {
        *room(1) = byte;
        ++size_;
    }

    void resize_down(size_t size) { size_ = size; }
    void drop_front(size_t count) {
        std::memmove(bytes_.get(), bytes_.get() + count, size_ - count);
        size_ -= count;
    }
    void clear() { size_ = 0; }
    // Gives the memory back.
    void release() {
        bytes_.reset();
        size_ = capacity_ = 0;
    }

  private:
    void grow(size_t count) {
        size_t larger = capacity_ < 256 ? 256 : capacity_ * 2;
        while (larger - size_ < count)
            larger *= 2;
        auto bytes = std::make_unique_for_overwrite<uint8_t[]>(larger);
        if (size_) std::memcpy(bytes.get(), bytes_.get(), size_);
        bytes_ = std::move(bytes);
        capacity_ = larger;
    }

    std::unique_ptr<uint8_t[]> bytes_;
    size_t size_ = 0;
    size_t capacity_ = 0;
};

} // namespace muster
