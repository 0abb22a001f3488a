#include "init/preserves/decimal.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>

namespace muster::preserves {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

size_t skip_digits(std::string_view text, size_t at) {
    while (at < text.size() && is_digit(text[at]))
        ++at;
    return at;
}

constexpr uint32_t chunk = 1000000000; // the largest power of ten in 32 bits
constexpr size_t chunk_digits = 9;

} // namespace

Word classify_word(std::string_view text) {
    size_t at = !text.empty() && (text[0] == '+' || text[0] == '-') ? 1 : 0;
    size_t next = skip_digits(text, at);
    if (next == at) return Word::symbol;
    at = next;
    if (at == text.size()) return Word::integer;
    if (text[at] == '.') {
        next = skip_digits(text, at + 1);
        if (next == at + 1) return Word::symbol;
        at = next;
        if (at == text.size()) return Word::number;
    }
    if (text[at] != 'e' && text[at] != 'E') return Word::symbol;
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    next = skip_digits(text, at);
    return next != at && next == text.size() ? Word::number : Word::symbol;
}

bool integer_from_text(std::string_view text, std::vector<uint8_t>& out) {
    const bool negative = text[0] == '-';
    if (negative || text[0] == '+') text.remove_prefix(1);
    while (text.size() > 1 && text[0] == '0')
        text.remove_prefix(1);
    if (text.size() > max_integer_digits) return false;

    // Magnitude in limbs, least significant first: nine digits at a time.
    std::vector<uint32_t> limbs;
    limbs.reserve(text.size() / chunk_digits + 1);
    size_t take = text.size() % chunk_digits;
    if (take == 0) take = chunk_digits;
    while (!text.empty()) {
        uint64_t carry = 0;
        for (const char c : text.substr(0, take))
            carry = carry * 10 + static_cast<uint64_t>(c - '0');
        for (uint32_t& limb : limbs) {
            carry += static_cast<uint64_t>(limb) * chunk;
            limb = static_cast<uint32_t>(carry);
            carry >>= 32;
        }
        if (carry != 0) limbs.push_back(static_cast<uint32_t>(carry));
        text.remove_prefix(take);
        take = chunk_digits;
    }

    limbs.push_back(0); // room for the sign
    if (negative) {
        uint64_t carry = 1;
        for (uint32_t& limb : limbs) {
            carry += static_cast<uint32_t>(~limb);
            limb = static_cast<uint32_t>(carry);
            carry >>= 32;
        }
    }
    out.clear();
    for (size_t i = limbs.size(); i-- > 0;)
        for (int shift = 24; shift >= 0; shift -= 8)
            out.push_back(static_cast<uint8_t>(limbs[i] >> shift));
    return true;
}

void append_integer(Bytes bytes, std::string& out) {
    const bool negative = !bytes.empty() && bytes[0] >= 0x80;
    std::vector<uint32_t> limbs((bytes.size() + 3) / 4 + 1, negative ? ~uint32_t{0} : 0);
    for (size_t i = 0; i < bytes.size(); ++i) {
        uint32_t& limb = limbs[i / 4];
        const unsigned shift = 8 * (i % 4);
        limb = (limb & ~(uint32_t{0xff} << shift)) |
               static_cast<uint32_t>(bytes[bytes.size() - 1 - i]) << shift;
    }
    if (negative) {
        uint64_t carry = 1;
        for (uint32_t& limb : limbs) {
            carry += static_cast<uint32_t>(~limb);
            limb = static_cast<uint32_t>(carry);
            carry >>= 32;
        }
        out.push_back('-');
    }

    // The digits from the last to the first, then turned round.
    const size_t start = out.size();
    for (;;) {
        while (!limbs.empty() && limbs.back() == 0)
            limbs.pop_back();
        uint64_t rest = 0;
        for (size_t i = limbs.size(); i-- > 0;) {
            rest = rest << 32 | limbs[i];
            limbs[i] = static_cast<uint32_t>(rest / chunk);
            rest %= chunk;
        }
        while (!limbs.empty() && limbs.back() == 0)
            limbs.pop_back();
        for (size_t i = 0; i < chunk_digits; ++i) {
            out.push_back(static_cast<char>('0' + rest % 10));
            rest /= 10;
            if (rest == 0 && limbs.empty()) break;
        }
        if (limbs.empty()) break;
    }
    for (size_t i = start, j = out.size(); i + 1 < j; ++i)
        std::swap(out[i], out[--j]);
}

bool number_from_text(std::string_view text, double& out) {
    if (text.size() > max_integer_digits) return false;
    const std::string terminated(text);
    out = std::strtod(terminated.c_str(), nullptr);
    return true;
}

void append_number(double value, std::string& out) {
    uint64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if (!std::isfinite(value)) {
        uint8_t bytes[8];
        for (int i = 0; i < 8; ++i)
            bytes[i] = static_cast<uint8_t>(bits >> (56 - 8 * i));
        out += "#xd\"";
        append_hex(bytes, out);
        out += '"';
        return;
    }
    // 17 digits always suffice, often 15 do, and for subnormal numbers still fewer.
    char digits[40];
    for (int precision = std::isnormal(value) ? 15 : 1; precision <= 17; ++precision) {
        std::snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (std::strtod(digits, nullptr) == value) break;
    }
    out += digits;
    if (classify_word(digits) == Word::integer) out += ".0";
}

void append_hex(Bytes bytes, std::string& out) {
    static constexpr char digits[] = "0123456789abcdef";
    for (const uint8_t byte : bytes) {
        out += digits[byte >> 4];
        out += digits[byte & 15];
    }
}

} // namespace muster::preserves
