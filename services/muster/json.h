// Writing JSON (RFC 8259), item by item.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace muster::command {

// Objects and arrays are begun and ended; within an object each item comes after a `key`. What is
// no UTF-8 is written as U+FFFD. REQUIRES: what is begun is ended, at most 64 at once.
class Json {
  public:
    Json& object() { return begin('{', '}'); }
    Json& array() { return begin('[', ']'); }
    Json& end();
    Json& key(std::string_view name);
    Json& string(std::string_view text);
    Json& integer(int64_t value);
    // Microseconds as seconds with a fraction.
    Json& seconds(uint64_t microseconds);
    Json& boolean(bool value);
    Json& null();

    // A key and its item.
    Json& pair(std::string_view name, std::string_view text) { return key(name).string(text); }
    Json& pair(std::string_view name, int64_t value) { return key(name).integer(value); }

    // The text so far. Arrays and objects in the outermost array begin lines.
    const std::string& text() const { return text_; }

  private:
    Json& begin(char open, char close);
    void separate();
    void quoted(std::string_view text);

    std::string text_;
    std::string open_; // what ends each that is open
    bool first_ = true;
    bool after_key_ = false;
};

} // namespace muster::command
