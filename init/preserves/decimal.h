// Numbers as text: integers of any length in decimal, floating-point numbers so that reading gives
// the same bits again.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "init/preserves/value.h"

namespace muster::preserves {

// What a bare word is (reference 1.4, SymbolOrNumber).
enum class Word : uint8_t { symbol, integer, number };
Word classify_word(std::string_view text);

// No integer of max_integer_bytes has more digits.
inline constexpr size_t max_integer_digits = 78914;

// Two's complement, big endian, of a word of class `integer`; not necessarily minimal. False if it
// has more than max_integer_digits digits.
bool integer_from_text(std::string_view text, std::vector<uint8_t>& out);

// The decimal digits of an integer in two's complement, big endian.
void append_integer(Bytes big_endian, std::string& out);

// A word of class `number`. False if it has more than max_integer_digits characters.
bool number_from_text(std::string_view text, double& out);

// As a word of class `number`; infinities and not-a-numbers as #xd"..".
void append_number(double value, std::string& out);

// Two lower-case digits for each byte.
void append_hex(Bytes bytes, std::string& out);

} // namespace muster::preserves
