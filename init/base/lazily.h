// A container that is mostly empty, and then costs a pointer.
#pragma once

#include <cstddef>
#include <memory>

namespace muster {

template <typename C>
class Lazily {
  public:
    bool empty() const { return !made_ || made_->empty(); }
    size_t size() const { return made_ ? made_->size() : 0; }
    auto begin() const { return get().begin(); }
    auto end() const { return get().end(); }
    // REQUIRES: it is there.
    const auto& operator[](size_t i) const { return (*made_)[i]; }

    // To look at, or to change what is in it.
    const C& get() const { return made_ ? *made_ : none(); }
    // To put something in.
    C& made() {
        if (!made_) made_ = std::make_unique<C>();
        return *made_;
    }
    // To change what is in it; null if nothing is.
    C* any() { return made_.get(); }
    // After something was taken out of `made()`.
    void tidy() {
        if (empty()) made_.reset();
    }
    void clear() { made_.reset(); }

  private:
    static const C& none() {
        static const C empty;
        return empty;
    }

    std::unique_ptr<C> made_;
};

} // namespace muster
