// For tests of what happens when the descriptors of this process are used up. Run alone such a test
// may fail in the sanitizer, which needs a pipe when it looks at a class for the first time.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include "init/base/catch.h"

namespace muster::services::test {

// While it lives no descriptor can be made.
class NoDescriptors {
  public:
    NoDescriptors() {
        REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
        rlimit none = before_;
        none.rlim_cur = static_cast<rlim_t>(::dup(0)); // the lowest that is free
        ::close(static_cast<int>(none.rlim_cur));
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
    }
    ~NoDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
    NoDescriptors(const NoDescriptors&) = delete;
    NoDescriptors& operator=(const NoDescriptors&) = delete;

  private:
    rlimit before_{};
};

} // namespace muster::services::test
