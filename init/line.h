// One line of text in a fixed buffer, for a process that allocates nothing. What does not fit is
// cut, visibly.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace muster::pid1 {

class Line {
  public:
    Line() = default;
    template <typename... Parts>
    explicit Line(const Parts&... parts) {
        (add(parts), ...);
    }

    void add(std::string_view text) {
        for (char c : text)
            put(c);
    }
    void add(const char* text) { add(std::string_view(text)); }
    void add(std::int64_t number) {
        char digits[20];
        int count = 0;
        std::uint64_t rest = number < 0 ? 0 - static_cast<std::uint64_t>(number)
                                        : static_cast<std::uint64_t>(number);
        do {
            digits[count++] = static_cast<char>('0' + rest % 10);
            rest /= 10;
        } while (rest != 0);
        if (number < 0) put('-');
        while (count > 0)
            put(digits[--count]);
    }
    void add(int number) { add(static_cast<std::int64_t>(number)); }
    void add(std::uint32_t number) { add(static_cast<std::int64_t>(number)); }

    std::string_view view() const { return {text_, size_}; }
    // Ended by NUL: for paths.
    const char* c_str() {
        text_[size_] = 0;
        return text_;
    }
    bool cut() const { return cut_; }

  private:
    void put(char c) {
        if (size_ < kSize) {
            text_[size_++] = c;
        } else if (!cut_) {
            cut_ = true;
            std::memcpy(text_ + kSize - 3, "...", 3);
        }
    }

    static constexpr std::size_t kSize = 480;
    char text_[kSize + 1];
    std::size_t size_ = 0;
    bool cut_ = false;
};

// Copies into a fixed field, always ended by NUL. False: it was cut.
inline bool copy_field(char* field, std::size_t size, std::string_view text) {
    std::size_t length = text.size() < size - 1 ? text.size() : size - 1;
    std::memcpy(field, text.data(), length);
    std::memset(field + length, 0, size - length);
    return length == text.size();
}

} // namespace muster::pid1
