// What keeps observers from being made into amplifiers.
#include <string>

#include "init/base/catch.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/fields.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/encoder.h"

using namespace muster;
using namespace muster::dataspace;
using preserves::Encoder;
namespace pat = muster::dataspace::pattern;

namespace {

// VALUE within so many sequences.
Value nested(View value, size_t levels) {
    Encoder out;
    for (size_t i = 0; i < levels; ++i)
        out.begin_sequence();
    out.value(value);
    for (size_t i = 0; i < levels; ++i)
        out.end();
    return *out.finish();
}

} // namespace

TEST_CASE("a dataspace that observes itself comes to rest") {
    Engine engine;
    CapRef space = spawn_dataspace(engine, "space");
    KeepAlive keep;
    auto actor = engine.spawn("actor", [&](Turn& turn) {
        keep = KeepAlive(Ref<Facet>(&turn.current()));
        turn.assert_(space, preserves::record("Observe", {pat::bind(), embed(space)}));
        turn.assert_(space, preserves::symbol("seed"));
        turn.message(space, preserves::symbol("seed"));
    });
    size_t runs = 0;
    while (engine.run(1'000) && runs < 100)
        ++runs;
    CHECK(runs < 100);
    // The Observe, the seed, and each of them in as many sequences as are possible.
    CHECK(assertion_count(*space) > Pattern::max_capture_depth);
    CHECK(assertion_count(*space) <= 2 * Pattern::max_capture_depth + 2);
    keep = {};
    engine.external(Ref<Facet>(&actor->root()), [](Turn& turn) { turn.stop_actor(); });
    while (engine.run()) {
    }
    CHECK(assertion_count(*space) == 0);
}

namespace {

// How many bytes the captures of `value` take; nothing if they are too much.
std::optional<size_t> captured(const Value& value, const Pattern& pattern) {
    Fields fields(value);
    ByteBuffer captures;
    bool all = collect(fields, pattern.captures, captures);
    CHECK(captures.size() <= Pattern::max_captures);
    return all ? std::optional(captures.size()) : std::nullopt;
}

} // namespace

TEST_CASE("captures nest no deeper than a packet can carry") {
    Result<Pattern> pattern = Pattern::parse(pat::bind());
    REQUIRE(pattern);
    for (size_t levels : {size_t{1}, Pattern::max_capture_depth - 1})
        CHECK(captured(nested(preserves::integer(1), levels), *pattern));
    CHECK_FALSE(captured(nested(preserves::integer(1), Pattern::max_capture_depth), *pattern));
}

TEST_CASE("binds within binds do not multiply a large value") {
    Value wire = pat::bind();
    for (int i = 0; i < 100; ++i)
        wire = pat::bind(wire);
    Result<Pattern> pattern = Pattern::parse(wire);
    REQUIRE(pattern);
    CHECK(captured(preserves::string(std::string(100'000, 'x')), *pattern));
    CHECK_FALSE(captured(preserves::string(std::string(1'000'000, 'x')), *pattern));
}

TEST_CASE("a pattern has so many nodes at most") {
    for (bool dictionary : {false, true}) {
        for (size_t count : {Pattern::max_nodes - 1, Pattern::max_nodes, size_t{100'000}}) {
            Encoder out;
            out.begin_record();
            out.symbol("group");
            out.begin_record();
            out.symbol(dictionary ? "dict" : "arr");
            out.end();
            out.begin_dictionary();
            for (size_t i = 0; i < count; ++i) {
                out.integer(static_cast<int64_t>(i));
                out.value(pat::discard());
            }
            out.end();
            out.end();
            Result<Pattern> pattern = Pattern::parse(*out.finish());
            CHECK(pattern.ok() == (count < Pattern::max_nodes));
            if (!pattern) CHECK(pattern.error().message == "pattern: too many nodes");
        }
    }
}
