// The words of the text syntax (reference 1.4): what stands between quotes, hexadecimal, base64.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace muster::preserves {

// Reads from `at` on. After need_more and malformed, `at` is somewhere within the word; `problem`
// and `problem_at` say what was malformed.
struct TextLexer {
    enum class Outcome : uint8_t { good, need_more, malformed };

    const char* at;
    const char* end;
    const char* problem = "";
    const char* problem_at = nullptr;

    // All of these begin behind the opening quote or bracket and end behind the closing one.

    // A string or quoted symbol up to `quote`. The content may refer to the text or to `scratch`.
    // Its UTF-8 is not checked.
    Outcome quoted(char quote, std::string_view& content, std::string& scratch);
    // #"..": printable ASCII with escapes.
    Outcome byte_string(std::string& out);
    // #x"..": pairs of digits.
    Outcome hex(std::string& out);
    // #[..]: base64.
    Outcome base64(std::string& out);
    // A bare symbol or number: one or more characters. Good also if it ends with the text.
    Outcome word(bool bar_symbols, std::string_view& content);

    // Whether a word ends in front of `c`.
    static bool is_delimiter(char c, bool bar_symbols);
    static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

  private:
    Outcome fail(const char* where, const char* what) {
        problem = what;
        problem_at = where;
        return Outcome::malformed;
    }
    Outcome simple_escape(char quote, const char* unknown, std::string& out);
    Outcome unicode_escape(std::string& out);
    Outcome hex_digits(int count, uint32_t& value);
};

} // namespace muster::preserves
