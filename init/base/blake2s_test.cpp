#include "init/base/blake2s.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <random>
#include <string>
#include <vector>

#include "init/base/catch.h"

using namespace muster;

namespace {

std::vector<uint8_t> bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

std::string hex(const Digest& digest) {
    std::string text;
    for (uint8_t byte : digest) {
        text += "0123456789abcdef"[byte >> 4];
        text += "0123456789abcdef"[byte & 15];
    }
    return text;
}

Digest hash(std::span<const uint8_t> data) {
    Blake2s state;
    state.add(data);
    return state.finish();
}

// RFC 7693, appendix E: deterministic sequences to hash.
std::vector<uint8_t> sequence(size_t size, uint32_t seed) {
    uint32_t a = 0xdead4bad * seed;
    uint32_t b = 1;
    std::vector<uint8_t> out;
    for (size_t i = 0; i < size; ++i) {
        uint32_t sum = a + b;
        a = b;
        b = sum;
        out.push_back(static_cast<uint8_t>(sum >> 24));
    }
    return out;
}

} // namespace

TEST_CASE("blake2s: the examples of RFC 7693") {
    CHECK(hex(hash(bytes_of("abc"))) ==
          "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
    CHECK(hex(hash({})) == "69217a3079908094e11121d042354a7c1f55b6482ca1a51e1b250dfd1ed0eef9");
}

TEST_CASE("blake2s and its HMAC agree with OpenSSL for all lengths, however they are split") {
    std::mt19937 random(7);
    for (size_t size = 0; size < 300; ++size) {
        std::vector<uint8_t> data = sequence(size, static_cast<uint32_t>(size));
        Digest expected;
        unsigned length = 0;
        REQUIRE(EVP_Digest(data.data(), size, expected.data(), &length, EVP_blake2s256(),
                           nullptr) == 1);
        Blake2s state;
        for (size_t done = 0; done < size;) {
            size_t count = std::min<size_t>(1 + random() % 100, size - done);
            state.add({data.data() + done, count});
            done += count;
        }
        REQUIRE(state.finish() == expected);

        std::vector<uint8_t> key = sequence(random() % 150, 3);
        REQUIRE(HMAC(EVP_blake2s256(), key.data(), static_cast<int>(key.size()), data.data(), size,
                     expected.data(), &length));
        REQUIRE(hmac_blake2s(key, data) == expected);
    }
}
