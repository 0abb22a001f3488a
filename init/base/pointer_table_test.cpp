#include "init/base/pointer_table.h"

#include <map>
#include <random>

#include "init/base/catch.h"

namespace muster {

namespace {

// Few different hashes, so that many items share one and chains are long.
uint64_t hash_of(uint64_t key) { return key % 37 * 0x9e3779b97f4a7c15u; }

struct Item {
    uint64_t key;
    uint64_t table_hash() const { return hash_of(key); }
};

} // namespace

TEST_CASE("a pointer table finds what it holds, and nothing else") {
    PointerTable<Item> table;
    std::map<uint64_t, std::unique_ptr<Item>> model;
    std::mt19937_64 random(4711);
    auto find = [&](uint64_t key) {
        return table.find(hash_of(key), [&](const Item& item) { return item.key == key; });
    };
    for (int step = 0; step < 20'000; ++step) {
        // It grows to hundreds, and shrinks to nothing in between.
        const uint64_t key = random() % 500;
        const bool growing = step / 4'000 % 2 == 0;
        auto known = model.find(key);
        if (known == model.end() && (growing || random() % 4 == 0)) {
            auto item = std::make_unique<Item>(Item{key});
            table.insert(hash_of(key), item.get());
            model.emplace(key, std::move(item));
        } else if (known != model.end() && (!growing || random() % 4 == 0)) {
            table.erase(hash_of(key), known->second.get());
            model.erase(known);
        }
        REQUIRE(table.size() == model.size());
        const uint64_t other = random() % 500;
        auto expected = model.find(other);
        REQUIRE(find(other) == (expected == model.end() ? nullptr : expected->second.get()));
    }
    size_t seen = 0;
    table.for_each([&](const Item& item) { seen += model.count(item.key); });
    CHECK(seen == model.size());
}

} // namespace muster
