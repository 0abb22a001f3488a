#include "init/base/patience.h"

#include "init/base/catch.h"

using muster::Patience;

namespace {

// How many of `count` waits are spun when no spin brings anything and every sleep takes `slept`.
int spins_in_vain(Patience& patience, int count, uint64_t slept) {
    int spins = 0;
    for (int i = 0; i < count; ++i) {
        if (patience.spins()) {
            ++spins;
            patience.spun(Patience::limit, false);
        }
        patience.slept(slept);
    }
    return spins;
}

} // namespace

TEST_CASE("only after a short wait is the next one spun") {
    Patience patience;
    CHECK_FALSE(patience.spins());
    patience.slept(Patience::short_wait + 1);
    CHECK_FALSE(patience.spins());
    patience.slept(Patience::short_wait);
    CHECK(patience.spins());
    patience.slept(Patience::short_wait + 1);
    CHECK_FALSE(patience.spins());
}

TEST_CASE("spins in vain become rare, and one that succeeds makes them frequent again") {
    Patience patience;
    patience.slept(1);
    CHECK(spins_in_vain(patience, 2'560, 1) <= 8 + 10);
    while (!patience.spins()) {
    }
    patience.spun(Patience::limit, true);
    for (int i = 0; i < 100; ++i) {
        REQUIRE(patience.spins());
        patience.spun(1'000, true);
    }
}

TEST_CASE("a spin during which something else ran is a failure") {
    Patience patience;
    patience.slept(1);
    REQUIRE(patience.spins());
    patience.spun(Patience::limit + 1, true);
    CHECK_FALSE(patience.spins());
}
