#include "init/preserves/text_lexer.h"

#include "init/preserves/symbol_characters.h"
#include "init/preserves/utf8.h"

namespace muster::preserves {

namespace {

using Outcome = TextLexer::Outcome;

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

int base64_value(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+' || c == '-') return 62;
    if (c == '/' || c == '_') return 63;
    return -1;
}

} // namespace

bool TextLexer::is_delimiter(char c, bool bar_symbols) {
    switch (c) {
    case ' ':
    case '\t':
    case '\r':
    case '\n':
    case '<':
    case '>':
    case '[':
    case ']':
    case '{':
    case '}':
    case '#':
    case ':':
    case '"':
    case '@':
    case ';':
    case ',':
        return true;
    case '|':
        return bar_symbols;
    case '\'':
        return !bar_symbols;
    default:
        return false;
    }
}

Outcome TextLexer::hex_digits(int count, uint32_t& value) {
    value = 0;
    for (; count > 0; --count) {
        if (at == end) return Outcome::need_more;
        const int digit = hex_value(*at);
        if (digit < 0) return fail(at, "not a hexadecimal digit: expected 0-9, a-f or A-F");
        value = value << 4 | static_cast<uint32_t>(digit);
        ++at;
    }
    return Outcome::good;
}

// An escape of one character; `at` is behind the backslash and not at the end. `unknown` is what is
// wrong if it is none.
Outcome TextLexer::simple_escape(char quote, const char* unknown, std::string& out) {
    const char c = *at;
    if (c == quote || c == '\\' || c == '/') {
        out += c;
    } else if (c == 'b') {
        out += '\b';
    } else if (c == 'f') {
        out += '\f';
    } else if (c == 'n') {
        out += '\n';
    } else if (c == 'r') {
        out += '\r';
    } else if (c == 't') {
        out += '\t';
    } else {
        return fail(at - 1, unknown);
    }
    ++at;
    return Outcome::good;
}

// \uXXXX, twice for characters above U+FFFF; `at` is behind the u.
Outcome TextLexer::unicode_escape(std::string& out) {
    const char* const start = at - 2;
    uint32_t unit;
    if (const Outcome outcome = hex_digits(4, unit); outcome != Outcome::good) return outcome;
    if (unit >= 0xdc00 && unit <= 0xdfff)
        return fail(start, "the second half of a surrogate pair: expected the first before it");
    if (unit >= 0xd800 && unit <= 0xdbff) {
        constexpr const char* alone = "the first half of a surrogate pair: expected the second "
                                      "(\\uDC00 to \\uDFFF) behind it";
        for (const char expected : {'\\', 'u'}) {
            if (at == end) return Outcome::need_more;
            if (*at != expected) return fail(start, alone);
            ++at;
        }
        uint32_t low;
        if (const Outcome outcome = hex_digits(4, low); outcome != Outcome::good) return outcome;
        if (low < 0xdc00 || low > 0xdfff) return fail(start, alone);
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    }
    append_code_point(unit, out);
    return Outcome::good;
}

Outcome TextLexer::quoted(char quote, std::string_view& content, std::string& scratch) {
    const char* piece = at;
    bool escapes = false;
    for (;;) {
        while (at != end && *at != quote && *at != '\\')
            ++at;
        if (at == end) return Outcome::need_more;
        const std::string_view plain(piece, static_cast<size_t>(at - piece));
        const bool done = *at++ == quote;
        if (done && !escapes) {
            content = plain;
            return Outcome::good;
        }
        if (!escapes) scratch.clear();
        escapes = true;
        scratch += plain;
        if (done) {
            content = scratch;
            return Outcome::good;
        }
        if (at == end) return Outcome::need_more;
        Outcome outcome;
        if (*at == 'u') {
            ++at;
            outcome = unicode_escape(scratch);
        } else {
            const char* const unknown =
                quote == '"'
                    ? "an unknown escape: expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX"
                : quote == '\''
                    ? "an unknown escape: expected one of \\' \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX"
                    : "an unknown escape: expected one of \\| \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX";
            outcome = simple_escape(quote, unknown, scratch);
        }
        if (outcome != Outcome::good) return outcome;
        piece = at;
    }
}

Outcome TextLexer::byte_string(std::string& out) {
    out.clear();
    for (;;) {
        if (at == end) return Outcome::need_more;
        const char c = *at++;
        if (c == '"') return Outcome::good;
        if (c < 32 || c > 126)
            return fail(at - 1, "a character that is not printable ASCII: expected \\xXX for it");
        if (c != '\\') {
            out += c;
            continue;
        }
        if (at == end) return Outcome::need_more;
        Outcome outcome;
        if (*at == 'x') {
            ++at;
            uint32_t byte;
            outcome = hex_digits(2, byte);
            out += static_cast<char>(byte);
        } else {
            outcome = simple_escape(
                '"', "an unknown escape: expected one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\xXX",
                out);
        }
        if (outcome != Outcome::good) return outcome;
    }
}

Outcome TextLexer::hex(std::string& out) {
    out.clear();
    for (;;) {
        while (at != end && is_space(*at))
            ++at;
        if (at == end) return Outcome::need_more;
        if (*at == '"') {
            ++at;
            return Outcome::good;
        }
        uint32_t byte;
        if (const Outcome outcome = hex_digits(2, byte); outcome != Outcome::good) return outcome;
        out += static_cast<char>(byte);
    }
}

Outcome TextLexer::base64(std::string& out) {
    out.clear();
    uint32_t bits = 0;
    unsigned count = 0; // bits that make no whole byte yet
    bool padding = false;
    for (;; ++at) {
        if (at == end) return Outcome::need_more;
        const char c = *at;
        if (is_space(c)) continue;
        if (c == ']') break;
        if (c == '=') {
            padding = true;
            continue;
        }
        const int value = base64_value(c);
        if (value < 0)
            return fail(
                at, "not a base64 digit: expected A-Z, a-z, 0-9, +, /, - or _, or ] at the end");
        if (padding) return fail(at, "a base64 digit behind the padding: expected ]");
        bits = bits << 6 | static_cast<uint32_t>(value);
        count += 6;
        if (count >= 8) {
            count -= 8;
            out += static_cast<char>(bits >> count);
        }
    }
    if (count == 6) return fail(at, "a base64 digit too much or too few: expected whole bytes");
    ++at;
    return Outcome::good;
}

Outcome TextLexer::word(bool bar_symbols, std::string_view& content) {
    const char* const start = at;
    while (at != end) {
        const char c = *at;
        if (is_bare_ascii(c) || (c == '|' && !bar_symbols)) {
            ++at;
            continue;
        }
        if (static_cast<uint8_t>(c) < 0x80) break;
        const char* next = at;
        const uint32_t code_point = read_code_point(next, end);
        // A character may be cut off by the end of the text: at most three of its bytes are there.
        if (code_point == no_code_point && end - at < 4) {
            const char* p = at + 1;
            while (p != end && (static_cast<uint8_t>(*p) & 0xc0) == 0x80)
                ++p;
            if (p == end) return Outcome::need_more;
        }
        if (code_point == no_code_point) return fail(at, "text that is not UTF-8");
        if (code_point == 0xfeff)
            return fail(at, "a byte order mark, which cannot be seen: save the text without it");
        if (!may_stand_in_symbol(code_point))
            return fail(at,
                        "a character that is not allowed in a symbol: expected quotes around it");
        at = next;
    }
    if (at == start || (at != end && !is_delimiter(*at, bar_symbols)))
        return fail(at, at == start ? "an unexpected character: expected a value (comments begin "
                                      "with # and a space)"
                                    : "an unexpected character: expected white space or a "
                                      "delimiter");
    content = {start, static_cast<size_t>(at - start)};
    return Outcome::good;
}

} // namespace muster::preserves
