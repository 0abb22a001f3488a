// The index against a model that has none: random assertions, retractions, observers and messages;
// every observer must have seen exactly what Pattern::matches says.
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "init/base/catch.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/encoder.h"
#include "init/preserves/text_writer.h"

using namespace muster;
using namespace muster::dataspace;
using preserves::Encoder;
namespace pat = muster::dataspace::pattern;

namespace {

using Texts = std::multiset<std::string>;

// Capabilities differ in text as they do by identity.
std::string identity(View value) { return std::string(value.bytes().begin(), value.bytes().end()); }

// What one observer sees: nothing twice, nothing gone that was not there.
class Recorder final : public Entity {
  public:
    std::map<Handle, Value> present;
    Texts messages;
    bool broken = false;

    void on_assert(Turn&, const Value& value, Handle handle) override {
        for (const auto& [other, known] : present)
            broken = broken || known == value;
        broken = !present.emplace(handle, value).second || broken;
    }
    void on_retract(Turn&, Handle handle) override {
        broken = present.erase(handle) != 1 || broken;
    }
    void on_message(Turn&, const Value& body) override { messages.insert(identity(body)); }
};

struct Model {
    std::mt19937 random;
    Engine engine;
    CapRef space = spawn_dataspace(engine, "space");
    Ref<Actor> actor;
    std::vector<Value> caps;

    struct Asserted {
        Value value;
        Handle handle = 0;
    };
    struct Watching {
        Value wire;
        Pattern pattern;
        Ref<Recorder> recorder;
        CapRef cap;
        Texts expected_messages;
    };
    std::vector<Asserted> asserted;
    std::vector<Watching> watching; // also in `asserted`, as Observe

    explicit Model(unsigned seed) : random(seed) {
        actor = engine.spawn("actor", [this](Turn& turn) {
            keep = KeepAlive(Ref<Facet>(&turn.current()));
            for (int i = 0; i < 2; ++i)
                caps.push_back(embed(turn.make_cap(make_ref<Entity>())));
        });
        engine.run();
    }
    KeepAlive keep;

    size_t pick(size_t below) { return random() % below; }

    Value atom() {
        switch (pick(7)) {
        case 0:
            return preserves::integer(static_cast<int64_t>(pick(3)));
        case 1:
            return preserves::symbol(pick(2) ? "a" : "b");
        case 2:
            return preserves::string("text long enough for a block of its own");
        case 3:
            return preserves::boolean(pick(2) != 0);
        case 4:
            return caps[pick(caps.size())];
        case 5:
            return preserves::number(0.5);
        default:
            return preserves::symbol("a");
        }
    }

    void encode_value(Encoder& out, int depth) {
        switch (depth > 0 ? pick(6) : 0) {
        case 1:
        case 2:
            out.begin_record();
            if (pick(8) == 0)
                out.value(preserves::integer(7));
            else
                out.symbol(pick(3) ? "r" : "s");
            break;
        case 3:
            out.begin_sequence();
            break;
        case 4:
            out.begin_dictionary();
            for (const char* key : {"k", "l"}) {
                if (pick(2)) continue;
                out.symbol(key);
                encode_value(out, depth - 1);
            }
            if (pick(3) == 0) {
                out.integer(0); // a key that looks like an index
                encode_value(out, depth - 1);
            }
            out.end();
            return;
        case 5:
            if (pick(4) == 0) {
                out.begin_set();
                out.value(preserves::integer(static_cast<int64_t>(pick(2))));
                out.end();
                return;
            }
            [[fallthrough]];
        default:
            out.value(atom());
            return;
        }
        for (size_t count = pick(4); count > 0; --count)
            encode_value(out, depth - 1);
        out.end();
    }

    void encode_pattern(Encoder& out, int depth) {
        auto begin = [&](const char* label) {
            out.begin_record();
            out.symbol(label);
        };
        switch (pick(depth > 0 ? 7 : 3)) {
        case 0:
            begin("_");
            break;
        case 1:
            begin("bind");
            encode_pattern(out, depth - 1);
            break;
        case 2:
            begin("lit");
            out.value(atom());
            break;
        default: {
            begin("group");
            size_t type = pick(4);
            begin(type < 2 ? "rec" : type == 2 ? "arr" : "dict");
            if (type < 2) {
                if (pick(8) == 0)
                    out.value(preserves::integer(7));
                else
                    out.symbol(pick(3) ? "r" : "s");
            }
            out.end();
            out.begin_dictionary();
            for (int64_t key = 0; key < 3; ++key) {
                if (pick(3) == 0) continue;
                if (type < 3)
                    out.integer(key);
                else if (key == 0)
                    out.integer(0);
                else
                    out.symbol(key == 1 ? "k" : "l");
                encode_pattern(out, depth - 1);
            }
            out.end();
        }
        }
        out.end();
    }

    Value value() {
        Encoder out;
        encode_value(out, 3);
        return *out.finish();
    }
    Value pattern() {
        Encoder out;
        if (pick(6) == 0) { // of Observes
            Value inner = pick(2) ? pat::bind() : pat::bind(pat::record("group", {pat::bind()}));
            return pat::record("Observe", {inner, pat::bind()});
        }
        encode_pattern(out, 3);
        return *out.finish();
    }

    void step(Turn& turn) {
        switch (pick(8)) {
        case 0:
        case 1:
        case 2: {
            Value fresh =
                pick(3) || asserted.empty() ? value() : asserted[pick(asserted.size())].value;
            asserted.push_back({fresh, turn.assert_(space, fresh)});
            break;
        }
        case 3:
        case 4: {
            if (asserted.empty()) break;
            std::swap(asserted[pick(asserted.size())], asserted.back());
            turn.retract(asserted.back().handle);
            asserted.pop_back();
            break;
        }
        case 5: {
            Value wire = !watching.empty() && pick(3) == 0 ? watching[pick(watching.size())].wire
                                                           : pattern();
            auto recorder = make_ref<Recorder>();
            CapRef cap = turn.make_cap(recorder);
            Value observe = preserves::record("Observe", {wire, embed(cap)});
            Result<Pattern> parsed = Pattern::parse(wire);
            if (parsed) watching.push_back({wire, *std::move(parsed), recorder, cap, {}});
            asserted.push_back({observe, turn.assert_(space, observe)});
            break;
        }
        default: {
            Value body =
                pick(2) || asserted.empty() ? value() : asserted[pick(asserted.size())].value;
            for (Watching& each : watching) {
                std::vector<View> captures;
                if (!observes(each) || !each.pattern.matches(body, &captures)) continue;
                each.expected_messages.insert(identity(sequence(captures)));
            }
            turn.message(space, body);
        }
        }
    }

    bool observes(const Watching& each) const {
        for (const Asserted& one : asserted)
            if (one.value.view().is_record("Observe", 2) &&
                cap_of(one.value.view().at(1)) == each.cap)
                return true;
        return false;
    }

    static Value sequence(const std::vector<View>& items) {
        Encoder out;
        out.begin_sequence();
        for (View item : items)
            out.value(item);
        out.end();
        return *out.finish();
    }

    void check() {
        std::set<std::string> distinct;
        for (const Asserted& one : asserted)
            distinct.insert(identity(one.value));
        REQUIRE(assertion_count(*space) == distinct.size());
        for (Watching& each : watching) {
            std::set<std::string> expected;
            if (observes(each)) {
                for (const Asserted& one : asserted) {
                    std::vector<View> captures;
                    if (each.pattern.matches(one.value, &captures))
                        expected.insert(identity(sequence(captures)));
                }
            }
            std::set<std::string> seen;
            for (const auto& [handle, value] : each.recorder->present)
                seen.insert(identity(value));
            INFO(preserves::to_text(each.wire));
            REQUIRE_FALSE(each.recorder->broken);
            REQUIRE(seen == expected);
            REQUIRE(each.recorder->messages == each.expected_messages);
        }
    }
};

} // namespace

TEST_CASE("the index agrees with matching one by one") {
    for (unsigned seed = 1; seed <= 12; ++seed) {
        INFO("seed " << seed);
        Model model(seed);
        for (int turn = 0; turn < 60; ++turn) {
            size_t steps = 1 + model.pick(4);
            model.engine.run_now(Ref<Facet>(&model.actor->root()), [&](Turn& t) {
                for (size_t i = 0; i < steps; ++i)
                    model.step(t);
            });
            model.engine.run();
            model.check();
        }
        // Nothing left, nothing seen.
        model.engine.run_now(Ref<Facet>(&model.actor->root()), [&](Turn& t) {
            for (const auto& one : model.asserted)
                t.retract(one.handle);
            model.asserted.clear();
        });
        model.engine.run();
        model.check();
    }
}
