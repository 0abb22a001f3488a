#include "init/dataspace/assertion_table.h"

#include <set>

#include "init/base/catch.h"

namespace muster::dataspace {

TEST_CASE("a handle of the past is known for what it is") {
    AssertionTable table;
    const Handle first = table.add({});
    REQUIRE(table.find(first));
    table.free(first);
    CHECK(table.find(first) == nullptr);
    table.free(first); // nothing happens
    const Handle second = table.add({});
    CHECK(static_cast<uint32_t>(second) == static_cast<uint32_t>(first)); // the same slot
    CHECK(second != first);
    CHECK(table.find(first) == nullptr);
    CHECK(table.find(second) != nullptr);
    CHECK(table.find(0) == nullptr);
    CHECK(table.find(4711) == nullptr);
}

TEST_CASE("handles that are alive are told apart by their lower half") {
    AssertionTable table;
    std::set<uint32_t> seen;
    for (int i = 0; i < 1'000; ++i)
        CHECK(seen.insert(static_cast<uint32_t>(table.add({}))).second);
    CHECK(table.capacity() < 1'100);
}

} // namespace muster::dataspace
