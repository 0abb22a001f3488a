// Random caveats on random values, compared with the model.
#include "init/base/catch.h"
#include "init/dataspace/caveat_model.h"
#include "init/dataspace/engine.h"

using namespace muster;
using namespace muster::dataspace;

namespace {

// `#:N` is one of a few capabilities.
struct Caps final : preserves::EmbeddedCodec {
    std::vector<CapRef> caps;
    Result<Ref<preserves::Embedded>> decode(View wire) override {
        return Ref<preserves::Embedded>(caps[static_cast<size_t>(*wire.as_int())]);
    }
    void encode(preserves::Embedded&, preserves::Encoder& out) override { out.integer(0); }
};

// Capabilities of an actor that has ended: they still can be narrowed.
struct World {
    Engine engine;
    Caps caps;

    explicit World(size_t count) {
        engine.spawn("holder", [&](Turn& turn) {
            for (size_t i = 0; i < count; ++i)
                caps.caps.push_back(turn.make_cap(make_ref<Entity>()));
            turn.stop_actor();
        });
        engine.run();
    }
    Value read(const std::string& text) {
        Result<Value> value = preserves::parse_text(text, &caps);
        if (!value) FAIL(text << ": " << value.error().message);
        return *value;
    }
};

std::vector<model::Node> trees(const Value& list) { return model::tree(list).items; }

std::string text_of(const std::optional<Value>& value) {
    return value ? model::show(model::tree(*value)) : "rejected";
}
std::string text_of(const std::optional<model::Node>& value) {
    return value ? model::show(*value) : "rejected";
}

// Catch2's macros cost more than what is tested.
void check(const Value& caveats, const Value& value, const std::string& result,
           const std::optional<model::Node>& expected) {
    if (result == text_of(expected)) return;
    INFO(preserves::to_text(caveats));
    INFO(preserves::to_text(value));
    CHECK(result == text_of(expected));
}

} // namespace

TEST_CASE("caveats do what the model says") {
    World world(3);
    model::Generator make(1);
    make.embedded = [](model::Generator& self) { return "#:" + std::to_string(self.pick(3)); };
    size_t passed = 0;
    size_t unsound = 0;
    size_t unknown = 0;
    for (int round = 0; round < 1'500; ++round) {
        std::string text = make.caveats(3);
        Value wire = world.read(text);
        std::vector<model::Node> expected = trees(wire);
        Result<Ref<Caveats>> caveats = Caveats::parse(wire);
        model::Form worst = model::Form::good;
        bool bad = false;
        for (const model::Node& each : expected) {
            model::Form form = model::caveat_form(each);
            bad |= form == model::Form::bad;
            worst = model::worse(worst, form);
        }
        if (caveats.ok() == bad) FAIL(text);
        unsound += bad;
        if (bad) continue;
        if ((*caveats)->reject_everything() != (worst == model::Form::unknown)) FAIL(text);
        unknown += worst == model::Form::unknown;
        for (int i = 0; i < 8; ++i) {
            Value value = world.read(make.value());
            std::optional<Value> result = (*caveats)->apply(value);
            check(wire, value, text_of(result), model::apply(expected, model::tree(value)));
            passed += result.has_value();
        }
    }
    // The generator makes enough of each.
    CHECK(passed > 1'000);
    CHECK(unsound > 20);
    CHECK(unknown > 20);
}

TEST_CASE("caveats that are added narrow what is left by those before them") {
    World world(2);
    model::Generator make(2);
    for (int round = 0; round < 300; ++round) {
        Ref<Caveats> all;
        std::vector<model::Node> expected;
        for (size_t steps = 1 + make.pick(4); steps > 0; --steps) {
            Value more = world.read(make.caveats(2));
            Result<Ref<Caveats>> joined = Caveats::join(all, more);
            if (!joined) continue;
            all = *joined;
            for (model::Node& each : trees(more))
                expected.push_back(each);
        }
        if (!all) continue;
        for (int i = 0; i < 5; ++i) {
            Value value = world.read(make.value());
            check(all->wire(), value, text_of(all->apply(value)),
                  model::apply(expected, model::tree(value)));
        }
    }
}
