// Errors as values with context.
//
// A function that can fail returns Result<T>: a T or an Error whose message says what was being
// done, on what, and what was wrong ("open /etc/fstab: No such file or directory"). Each layer that
// knows more puts its knowledge in front with `with_context`. Nothing here throws: the target
// programs are built without exceptions.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace muster {

struct Error {
    std::string message;
    int number = 0; // errno, if a system call said it

    // The same error, said by someone who knows where it happened: "CONTEXT: message".
    Error with_context(std::string_view context) const {
        return Error{std::string(context) + ": " + message, number};
    }
    // The system had no more of something: the same may succeed later.
    bool exhausted() const;
};

// An error from a system call, "WHAT: text of errno".
inline Error system_error(std::string_view what, int error_number) {
    return Error{std::string(what) + ": " + std::strerror(error_number), error_number};
}

inline bool Error::exhausted() const {
    return number == EAGAIN || number == ENOMEM || number == EMFILE || number == ENFILE ||
           number == ENOSPC || number == EDQUOT || number == ENOBUFS;
}

template <typename T = std::monostate>
class [[nodiscard]] Result {
  public:
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}
    Result() requires std::is_same_v<T, std::monostate>
    = default;

    bool ok() const { return state_.index() == 0; }
    explicit operator bool() const { return ok(); }

    // REQUIRES: ok().
    T& operator*() & { return *std::get_if<0>(&state_); }
    const T& operator*() const& { return *std::get_if<0>(&state_); }
    T&& operator*() && { return std::move(*std::get_if<0>(&state_)); }
    T* operator->() { return std::get_if<0>(&state_); }
    const T* operator->() const { return std::get_if<0>(&state_); }

    // REQUIRES: !ok().
    const Error& error() const { return *std::get_if<1>(&state_); }

  private:
    std::variant<T, Error> state_;
};

} // namespace muster
