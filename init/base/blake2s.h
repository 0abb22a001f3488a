// BLAKE2s-256, a hash (RFC 7693), and HMAC over it (RFC 2104): the signatures of sturdyrefs.
//
// Written out here because Debian's libb2 holds every variant of two hashes for all processors,
// picked when it runs (95 KB, for what is 1 KB here), and asks for functions that only glibc has.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace muster {

using Digest = std::array<uint8_t, 32>;

class Blake2s {
  public:
    Blake2s();
    void add(std::span<const uint8_t> bytes);
    // Of all that was added; nothing may be added afterwards.
    Digest finish();

  private:
    static constexpr size_t block_size = 64;
    void compress(bool last);

    std::array<uint32_t, 8> state_;
    uint64_t total_ = 0; // bytes that have been compressed
    std::array<uint8_t, block_size> block_;
    size_t filled_ = 0; // of block_
};

// HMAC with BLAKE2s-256 as its hash and blocks of 64 bytes; not BLAKE2s's own keyed mode.
Digest hmac_blake2s(std::span<const uint8_t> key, std::span<const uint8_t> data);

} // namespace muster
