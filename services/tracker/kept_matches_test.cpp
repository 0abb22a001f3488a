#include "services/tracker/kept_matches.h"

#include <fcntl.h>
#include <unistd.h>

#include "init/base/catch.h"

using namespace muster;
using namespace muster::services;

namespace {

// What init does: keeps one copy.
struct Keeper {
    Fd kept;
    bool full = false;
    FdKeeper keeper() {
        return {.take = [this](const std::string&) { return Fd(::dup(kept.get())); },
                .store = [this](const std::string&, int fd) -> Result<> {
                    if (full) return Error{"the store is full"};
                    if (kept) return Error{"the name is taken"};
                    kept = Fd(::dup(fd));
                    return {};
                },
                .drop = [this](const std::string&) { kept.reset(); }};
    }
    KeptMatches successor(bool& settling) {
        KeptMatches next(keeper());
        REQUIRE(next.take_over([&settling] { return settling; }));
        return next;
    }
};

} // namespace

TEST_CASE("kept matches: a successor knows what was there, once, while it adopts") {
    Keeper init;
    bool settling = true;
    KeptMatches first = init.successor(settling);
    CHECK_FALSE(init.kept.valid());
    CHECK_FALSE(first.came(1));
    CHECK_FALSE(first.came(2));
    CHECK_FALSE(first.came(2)); // twice
    CHECK_FALSE(first.came(3));
    first.left(2);
    first.left(3);
    CHECK_FALSE(first.came(4)); // where 3 was
    first.left(5);
    for (int i = 0; i < 2; ++i) { // the first of them is killed before anything comes back
        KeptMatches next = init.successor(settling);
        if (i == 0) continue;
        CHECK(next.came(1));
        CHECK_FALSE(next.came(1));
        CHECK(next.came(2));
        CHECK_FALSE(next.came(3));
        CHECK(next.came(4));
    }
}

TEST_CASE("kept matches: what is not back in time has gone") {
    Keeper init;
    bool settling = true;
    KeptMatches first = init.successor(settling);
    first.came(1);
    first.came(2);
    KeptMatches second = init.successor(settling);
    CHECK(second.came(1));
    settling = false;
    CHECK_FALSE(second.came(2));
    second.left(2);
    settling = true;
    KeptMatches third = init.successor(settling);
    CHECK(third.came(1));
    CHECK_FALSE(third.came(2));
}

TEST_CASE("kept matches: more than there is room for, and nowhere to keep them") {
    Keeper init;
    bool settling = true;
    KeptMatches first = init.successor(settling);
    for (uint64_t i = 1; i <= 10'000; ++i)
        first.came(i);
    KeptMatches second = init.successor(settling);
    CHECK(second.came(8191));
    CHECK_FALSE(second.came(8192));
    second.left(8192);
    second.left(8191);
    CHECK_FALSE(second.came(10'001)); // where that was
    CHECK(init.successor(settling).came(10'001));

    Keeper full;
    full.full = true;
    KeptMatches none = full.successor(settling);
    CHECK_FALSE(none.came(1));
    none.left(1);
    CHECK_FALSE(none.came(1));
}

TEST_CASE("kept matches: what is of another version is an error, and gives way") {
    Keeper init;
    init.kept = Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    bool settling = true;
    KeptMatches first(init.keeper());
    CHECK_FALSE(first.take_over({}).ok());
    CHECK_FALSE(first.came(1));
    CHECK(init.successor(settling).came(1));
}
