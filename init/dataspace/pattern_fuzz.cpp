// Any pattern, on any values: a dataspace full of observers against a matcher that has neither
// index nor paths. The input is text, a value a command: `<? PATTERN>` observes, `<- N>` takes the
// Nth back, `<! BODY>` sends, `<turn COMMAND…>` does several in one turn, all else is asserted.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "init/dataspace/dataspace.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/encoder.h"
#include "init/preserves/text_reader.h"

using namespace muster;
using namespace muster::dataspace;
using preserves::Kind;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

std::string identity(View value) { return std::string(value.bytes().begin(), value.bytes().end()); }

// By reference 2.9 and by nothing else. Recursive: what a reader lets through nests 200 deep.
bool naive_match(View pattern, View value, std::vector<View>& captures) {
    if (!value.valid()) return false;
    if (pattern.is_record("_")) return true;
    if (pattern.is_record("bind")) {
        captures.push_back(value);
        return naive_match(pattern.at(0), value, captures);
    }
    if (pattern.is_record("lit")) return pattern.at(0) == value;
    require(pattern.is_record("group", 2));
    const View type = pattern.at(0);
    if (type.is_record("rec")) {
        if (!value.is(Kind::record) || !(value.label() == type.at(0))) return false;
    } else if (type.is_record("arr")) {
        if (!value.is(Kind::sequence)) return false;
    } else {
        require(type.is_record("dict"));
        if (!value.is(Kind::dictionary)) return false;
    }
    std::vector<View> items;
    for (View item : pattern.at(1).items())
        items.push_back(item);
    std::vector<std::pair<View, View>> entries;
    for (size_t i = 0; i + 1 < items.size(); i += 2)
        entries.emplace_back(items[i], items[i + 1]);
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
        return preserves::compare(a.first, b.first) < 0;
    });
    for (const auto& [key, inner] : entries) {
        View part =
            type.is_record("dict") ? value.get(key) : value.at(static_cast<size_t>(*key.as_int()));
        if (!naive_match(inner, part, captures)) return false;
    }
    return true;
}

// The sequence of what `pattern` captures; empty if `value` does not match, or only too deeply.
std::string naive_captures(View pattern, View value) {
    std::vector<View> captures;
    if (!naive_match(pattern, value, captures)) return {};
    preserves::Encoder out;
    out.begin_sequence();
    for (View each : captures)
        out.value(each);
    out.end();
    Result<Value> made = out.finish();
    if (!made || preserves::depth_of(made->bytes()) > Pattern::max_capture_depth) return {};
    return identity(*made);
}

class Recorder final : public Entity {
  public:
    std::map<Handle, std::string> present;
    std::multiset<std::string> messages;

    void on_assert(Turn&, const Value& value, Handle handle) override {
        for (const auto& [other, known] : present)
            require(known != identity(value));
        require(present.emplace(handle, identity(value)).second);
    }
    void on_retract(Turn&, Handle handle) override { require(present.erase(handle) == 1); }
    void on_message(Turn&, const Value& body) override { messages.insert(identity(body)); }
};

class World final : public preserves::EmbeddedCodec {
  public:
    World() {
        actor_ = engine_.spawn("actor", [this](Turn& turn) {
            keep_ = KeepAlive(Ref<Facet>(&turn.current()));
            for (CapRef& cap : caps_)
                cap = turn.make_cap(make_ref<Entity>());
        });
        engine_.run();
    }

    void run(std::string_view text) {
        preserves::TextReader reader(text);
        std::vector<uint8_t> bytes;
        size_t turns = 0;
        while (reader.next_bytes(bytes) == preserves::TextReader::State::value) {
            Result<Value> command = preserves::decode_packed(bytes, this);
            if (!command) continue;
            in_turn([&](Turn& turn) { obey(turn, *command); });
            if (++turns <= 16) check();
            if (turns == 100) break;
        }
        check();
        in_turn([&](Turn& turn) {
            for (const Asserted& each : asserted_)
                turn.retract(each.handle);
            asserted_.clear();
        });
        check();
    }

  private:
    struct Asserted {
        Value value;
        Handle handle;
        Ref<Recorder> observer;
    };
    struct Observation {
        Value pattern;
        Ref<Recorder> recorder;
        std::multiset<std::string> messages;
    };

    Result<Ref<preserves::Embedded>> decode(View wire) override {
        return Ref<preserves::Embedded>(
            caps_[static_cast<size_t>(wire.as_int().value_or(0)) % std::size(caps_)]);
    }
    void encode(preserves::Embedded&, preserves::Encoder&) override { std::abort(); }

    void in_turn(const TurnAction& action) {
        engine_.run_now(Ref<Facet>(&actor_->root()), action);
        while (engine_.run()) {
        }
    }

    void obey(Turn& turn, View command) {
        if (!command.is_record("turn")) {
            obey_one(turn, command);
            return;
        }
        for (View each : command.items())
            obey_one(turn, each);
    }

    void obey_one(Turn& turn, View command) {
        if (command.is_record("!", 1)) {
            for (Observation& each : observations_) {
                std::string captures = naive_captures(each.pattern, command.at(0));
                if (!captures.empty() && live(each)) each.messages.insert(captures);
            }
            turn.message(space_, Value(command.at(0)));
        } else if (command.is_record("-", 1) && !asserted_.empty()) {
            auto at = static_cast<uint64_t>(command.at(0).as_int().value_or(0)) % asserted_.size();
            turn.retract(asserted_[at].handle);
            asserted_.erase(asserted_.begin() + static_cast<ptrdiff_t>(at));
        } else if (command.is_record("?", 1)) {
            observe(turn, command.at(0));
        } else {
            check_literal(command);
            asserted_.push_back({Value(command), turn.assert_(space_, Value(command)), {}});
        }
    }

    void observe(Turn& turn, View pattern) {
        auto recorder = make_ref<Recorder>();
        Value wish = preserves::record("Observe", {pattern, embed(turn.make_cap(recorder))});
        if (Pattern::parse(pattern)) observations_.push_back({Value(pattern), recorder, {}});
        Value exactly = pattern::constant_value(pattern);
        if (exactly.valid()) require(!naive_captures(pattern, exactly).empty());
        asserted_.push_back({wish, turn.assert_(space_, wish), recorder});
    }

    // What a pattern can say of a value itself matches that value.
    static void check_literal(View value) {
        Value literal = pattern::literal(value);
        if (!literal.valid()) return;
        Result<Pattern> parsed = Pattern::parse(literal);
        if (!parsed) return; // too large
        require(parsed->matches(value) && !naive_captures(literal, value).empty());
    }

    bool live(const Observation& each) const {
        return std::any_of(asserted_.begin(), asserted_.end(), [&](const Asserted& one) {
            return one.observer.get() == each.recorder.get();
        });
    }

    void check() const {
        std::set<std::string> distinct;
        for (const Asserted& each : asserted_)
            distinct.insert(identity(each.value));
        require(assertion_count(*space_) == distinct.size());
        for (const Observation& each : observations_) {
            std::set<std::string> expected, seen;
            if (live(each)) {
                for (const Asserted& one : asserted_) {
                    std::string captures = naive_captures(each.pattern, one.value);
                    if (!captures.empty()) expected.insert(captures);
                }
            }
            for (const auto& [handle, captures] : each.recorder->present)
                seen.insert(captures);
            require(seen == expected);
            require(each.recorder->messages == each.messages);
        }
    }

    Engine engine_;
    CapRef space_ = spawn_dataspace(engine_, "space");
    Ref<Actor> actor_;
    KeepAlive keep_;
    CapRef caps_[3];
    std::vector<Asserted> asserted_;
    std::vector<Observation> observations_;
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    World world;
    world.run({reinterpret_cast<const char*>(data), size});
    return 0;
}
