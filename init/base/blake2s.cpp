#include "init/base/blake2s.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace muster {

namespace {

// RFC 7693, 2.6: the initialization vector.
constexpr uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                               0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

// 2.7: which words of the message a round mixes in.
constexpr uint8_t schedule[10][16] = {{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
                                      {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
                                      {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
                                      {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
                                      {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
                                      {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
                                      {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
                                      {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
                                      {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
                                      {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0}};

// 3.1: the columns, then the diagonals of the working state that a round mixes.
constexpr uint8_t lanes[8][4] = {{0, 4, 8, 12},  {1, 5, 9, 13},  {2, 6, 10, 14}, {3, 7, 11, 15},
                                 {0, 5, 10, 15}, {1, 6, 11, 12}, {2, 7, 8, 13},  {3, 4, 9, 14}};

uint32_t load(const uint8_t* at) {
    return uint32_t{at[0]} | uint32_t{at[1]} << 8 | uint32_t{at[2]} << 16 | uint32_t{at[3]} << 24;
}

} // namespace

Blake2s::Blake2s() {
    std::copy(start, start + 8, state_.begin());
    state_[0] ^= 0x01010000 ^ Digest {}.size(); // no key
}

// 3.2: the function F.
void Blake2s::compress(bool last) {
    total_ += filled_;
    uint32_t message[16];
    for (size_t i = 0; i < 16; ++i)
        message[i] = load(block_.data() + 4 * i);
    uint32_t v[16];
    std::copy(state_.begin(), state_.end(), v);
    std::copy(start, start + 8, v + 8);
    v[12] ^= static_cast<uint32_t>(total_);
    v[13] ^= static_cast<uint32_t>(total_ >> 32);
    if (last) v[14] = ~v[14];
    for (const auto& order : schedule) {
        for (size_t i = 0; i < 8; ++i) {
            uint32_t &a = v[lanes[i][0]], &b = v[lanes[i][1]], &c = v[lanes[i][2]],
                     &d = v[lanes[i][3]];
            a += b + message[order[2 * i]];
            d = std::rotr(d ^ a, 16);
            c += d;
            b = std::rotr(b ^ c, 12);
            a += b + message[order[2 * i + 1]];
            d = std::rotr(d ^ a, 8);
            c += d;
            b = std::rotr(b ^ c, 7);
        }
    }
    for (size_t i = 0; i < 8; ++i)
        state_[i] ^= v[i] ^ v[i + 8];
    filled_ = 0;
}

void Blake2s::add(std::span<const uint8_t> bytes) {
    while (!bytes.empty()) {
        // The last block is marked as such: a full one waits until more comes.
        if (filled_ == block_size) compress(false);
        size_t count = std::min(bytes.size(), block_size - filled_);
        std::memcpy(block_.data() + filled_, bytes.data(), count);
        filled_ += count;
        bytes = bytes.subspan(count);
    }
}

Digest Blake2s::finish() {
    std::fill(block_.begin() + static_cast<ptrdiff_t>(filled_), block_.end(), uint8_t{0});
    compress(true);
    Digest digest;
    for (size_t i = 0; i < digest.size(); ++i)
        digest[i] = static_cast<uint8_t>(state_[i / 4] >> (8 * (i % 4)));
    return digest;
}

Digest hmac_blake2s(std::span<const uint8_t> key, std::span<const uint8_t> data) {
    std::array<uint8_t, 64> pad{};
    if (key.size() > pad.size()) {
        Blake2s hash;
        hash.add(key);
        Digest digest = hash.finish();
        std::copy(digest.begin(), digest.end(), pad.begin());
    } else {
        std::copy(key.begin(), key.end(), pad.begin());
    }
    for (uint8_t& byte : pad)
        byte ^= 0x36;
    Blake2s inner;
    inner.add(pad);
    inner.add(data);
    Digest digest = inner.finish();
    for (uint8_t& byte : pad)
        byte ^= 0x36 ^ 0x5c;
    Blake2s outer;
    outer.add(pad);
    outer.add(digest);
    return outer.finish();
}

} // namespace muster
