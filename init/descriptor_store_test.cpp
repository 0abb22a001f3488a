#include "init/descriptor_store.h"

#include <cerrno>
#include <cstdio>
#include <memory>

#include <fcntl.h>
#include <unistd.h>

#include "init/base/catch.h"

using muster::pid1::DescriptorStore;

namespace {

struct Name {
    char text[muster::records::kFdNameSize] = {};
    explicit Name(const char* name) { std::snprintf(text, sizeof text, "%s", name); }
    explicit Name(int number) { std::snprintf(text, sizeof text, "fd/%d", number); }
};

// No descriptor of this process, so that nothing is closed by the test.
constexpr int kNone = -1;

} // namespace

TEST_CASE("descriptors are kept by name, each once, until dropped") {
    auto store = std::make_unique<DescriptorStore>();
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(store->store(Name("a").text, fd) == 0);
    CHECK(store->store(Name("a").text, kNone) == -EEXIST);
    CHECK(store->store(Name("").text, kNone) == -EINVAL);
    CHECK(store->drop(Name("b").text) == -ENOENT);
    store->set_close_on_exec(false);
    CHECK(fcntl(fd, F_GETFD) == 0);
    store->set_close_on_exec(true);
    CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    CHECK(store->drop(Name("a").text) == 0);
    CHECK(fcntl(fd, F_GETFD) == -1); // closed
    CHECK(store->count() == 0);
}

TEST_CASE("a full store refuses and evicts nothing") {
    auto store = std::make_unique<DescriptorStore>();
    int many = static_cast<int>(muster::records::kStoredFds);
    for (int i = 0; i < many; ++i)
        REQUIRE(store->store(Name(i).text, kNone) == 0);
    CHECK(store->store(Name("more").text, kNone) == -ENOSPC);
    CHECK(store->drop(Name(7).text) == 0);
    CHECK(store->store(Name("more").text, kNone) == 0);
    CHECK(store->count() == muster::records::kStoredFds);
    std::uint32_t at = 0;
    int seen = 0;
    while (store->next(at) != nullptr) {
        ++at;
        ++seen;
    }
    CHECK(seen == many);
}

TEST_CASE("a name that is not ended within its field is refused") {
    auto store = std::make_unique<DescriptorStore>();
    char name[muster::records::kFdNameSize];
    for (char& c : name)
        c = 'x';
    CHECK(store->store(name, kNone) == -EINVAL);
    CHECK(store->drop(name) == -EINVAL);
}
