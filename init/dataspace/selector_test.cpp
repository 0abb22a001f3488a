#include "init/dataspace/selector.h"

#include <random>
#include <set>

#include "init/base/catch.h"
#include "init/preserves/text_reader.h"

namespace muster::dataspace {

namespace {

// A pattern with a constant in each field of <r f0 … f3> that `mask` names.
Pattern shape(int mask, int constant) {
    std::string text = "<group <rec r> {";
    for (int field = 0; field < 4; ++field)
        if (mask >> field & 1)
            text += std::to_string(field) + ": <lit " + std::to_string(constant + field) + "> ";
    return *Pattern::parse(*preserves::parse_text(text + "}>"));
}

struct Entry {
    size_t shape; // its mask
    Pattern pattern;
};

} // namespace

// Shapes come and go with their constants; each message must be offered to every shape that has a
// pattern that matches, and to no shape where some constant is nobody's.
TEST_CASE("a selector offers a message to the shapes that it can reach") {
    constexpr size_t shapes = 16;
    Selector selector;
    std::vector<Entry> entries;
    std::mt19937 random(4711);
    for (int step = 0; step < 3'000; ++step) {
        if (entries.size() < 10 || random() % 2) {
            const size_t mask = random() % shapes;
            Pattern pattern = shape(static_cast<int>(mask), static_cast<int>(random() % 3));
            selector.add(mask, pattern.constant_paths, preserves::sequence(pattern.constants));
            entries.push_back({mask, std::move(pattern)});
        } else {
            std::swap(entries[random() % entries.size()], entries.back());
            const Entry& entry = entries.back();
            selector.remove(entry.shape, entry.pattern.constant_paths,
                            preserves::sequence(entry.pattern.constants));
            entries.pop_back();
        }
        std::string text = "<r";
        for (unsigned field = 0; field < 4 - random() % 2; ++field)
            text += " " + std::to_string(random() % 6);
        const Value message = *preserves::parse_text(text + ">");
        Fields fields(message);
        std::set<size_t> offered;
        selector.select(fields, shapes, [&](size_t number) { offered.insert(number); });
        for (const Entry& entry : entries) {
            if (entry.pattern.matches(message)) REQUIRE(offered.count(entry.shape) == 1);
            for (size_t i = 0; i < entry.pattern.constants.size(); ++i) {
                View there = walk(message, entry.pattern.constant_paths[i]);
                bool known = false;
                for (const Entry& other : entries)
                    known = known || (other.shape == entry.shape && there.valid() &&
                                      other.pattern.constants[i].view() == there);
                if (!known) REQUIRE(offered.count(entry.shape) == 0);
            }
        }
    }
}

} // namespace muster::dataspace
