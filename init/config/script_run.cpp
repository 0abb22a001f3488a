// Running instructions in facets (reference 3.5).

#include <time.h>

#include <algorithm>
#include <cstdio>

#include "init/base/rfc3339.h"
#include "init/config/instantiate.h"
#include "init/config/locate.h"
#include "init/config/tree.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"

namespace muster::config {

using dataspace::CapRef;
using dataspace::Facet;
using dataspace::KeepAlive;
using dataspace::Turn;
using dataspace::TurnAction;
using preserves::Kind;

namespace {

// The message `stop` stops the facet in which the capability was made.
class FacetEntity final : public dataspace::Entity {
  public:
    void on_message(Turn& turn, const Value& body) override {
        if (body.view().is_symbol("stop")) turn.stop_current();
    }
};

// Keeps the current facet alive until something stops it.
void stay(Turn& turn) {
    auto keep = std::make_shared<KeepAlive>(Ref<Facet>(&turn.current()));
    turn.on_stop([keep](Turn&) { *keep = KeepAlive(); });
}

// Where instructions run.
struct Frame {
    std::string_view target; // name of the variable; stands in the script's tree
    bool lasting;            // `?-` keeps the facet: its end is given from outside
};

} // namespace

class ScriptRun : public Counted {
  public:
    ScriptRun(Ref<Script> script, ReportInTurn report, bool rehearsal, Ref<Narrowed> narrowed,
              size_t most_reactions)
        : script_(std::move(script)), report_(std::move(report)), rehearsal_(rehearsal),
          narrowed_(std::move(narrowed)), most_reactions_(most_reactions) {}
    const Ref<Narrowed>& narrowed() const { return narrowed_; }
    void set_facet(Ref<Facet> facet) { facet_ = std::move(facet); }

    bool execute(Turn& turn, const Instruction& instruction, Environment& environment,
                 const Frame& frame);
    void let_out(Turn& turn);
    // What is held may hold us, by way of a capability that a script has captured.
    void drop_held() { std::vector<Held>().swap(held_); }

  private:
    struct Held {
        Ref<Facet> facet;
        KeepAlive keep;
        TurnAction action;
    };
    // What the body of `?` and the like needs when its time comes.
    struct Body {
        Ref<ScriptRun> run;
        const Instruction* instruction;
        Environment environment;
        std::vector<std::string> names;
        Frame frame;

        bool operator()(Turn& turn, View captures) const;
    };

    bool fail(Turn& turn, Place place, std::string message);
    bool fail(Turn& turn, const Fault& fault) { return fail(turn, fault.place, fault.message); }
    bool begin_reaction(Turn& turn, Place place);
    void perform(Turn& turn, const CapRef& target, TurnAction action);

    bool block(Turn& turn, const Instruction& block, const Environment& outer, const Frame& frame);
    bool test(Turn& turn, const Instruction& match, const Environment& environment,
              const Frame& frame, bool& matched);
    bool send(Turn& turn, const Instruction& instruction, const Environment& environment,
              const Frame& frame);
    bool observe(Turn& turn, const Instruction& instruction, const Environment& environment,
                 const Frame& frame);
    void on_stop(Turn& turn, const Instruction& instruction, const Environment& environment,
                 const Frame& frame);
    bool let(Turn& turn, const Instruction& instruction, Environment& environment);
    Value evaluate(Turn& turn, const Expression& expression, const Environment& environment);
    Value text(Turn& turn, Place place, const std::string& text);
    bool compare(Turn& turn, const Node& pattern, const Value& value, Environment& environment,
                 bool& matched);
    CapRef find_target(Turn& turn, Place place, const Environment& environment, const Frame& frame);

    Ref<Script> script_;
    ReportInTurn report_;
    bool rehearsal_;
    Ref<Narrowed> narrowed_;
    std::vector<Held> held_;
    std::vector<CapRef> own_; // dataspaces made in the rehearsal: nobody else sees them yet
    Ref<Facet> facet_;        // of all that it does
    size_t most_reactions_;
    size_t reactions_ = 0; // facets that live because something matched
    size_t begun_ = 0;     // in this turn
};

bool ScriptRun::fail(Turn& turn, Place place, std::string message) {
    const Source& source = *script_->source();
    if (report_) report_(turn, {source.file, source.places[place], std::move(message)});
    return false;
}

// In the facet of a match. Reacting to what one has caused oneself may have no end: the script
// ends.
bool ScriptRun::begin_reaction(Turn& turn, Place place) {
    if (!facet_->alive()) return false;
    // Those that have ended within the turn count too: what they did is still on its way, and may
    // come back as more of them.
    if (begun_ == 0) turn.before_commit([run = Ref<ScriptRun>(this)](Turn&) { run->begun_ = 0; });
    if (reactions_ == most_reactions_ || ++begun_ > most_reactions_) {
        fail(turn, place,
             "more than " + std::to_string(most_reactions_) +
                 " reactions at once: does it react to what it does itself?");
        turn.stop(*facet_);
        return false;
    }
    ++reactions_;
    turn.on_stop([run = Ref<ScriptRun>(this)](Turn&) { --run->reactions_; });
    return true;
}

// Does something to `target` that others would notice; later, if this is a rehearsal.
void ScriptRun::perform(Turn& turn, const CapRef& target, TurnAction action) {
    if (!rehearsal_ || std::find(own_.begin(), own_.end(), target) != own_.end()) {
        action(turn);
        return;
    }
    Ref<Facet> facet(&turn.current());
    held_.push_back({facet, KeepAlive(facet), std::move(action)});
}

void ScriptRun::let_out(Turn& turn) {
    if (!rehearsal_) return;
    rehearsal_ = false;
    own_.clear();
    std::vector<Held> held = std::move(held_);
    held_.clear();
    for (Held& entry : held)
        turn.in(*entry.facet, entry.action);
}

bool ScriptRun::Body::operator()(Turn& turn, View captures) const {
    Environment inner = environment;
    size_t i = 0;
    for (View captured : captures.items()) {
        if (i == names.size()) break;
        inner.bind(names[i++], Value(captured));
    }
    return run->execute(turn, *instruction, inner, frame);
}

bool ScriptRun::execute(Turn& turn, const Instruction& instruction, Environment& environment,
                        const Frame& frame) {
    switch (instruction.op) {
    case Instruction::Op::assert_:
    case Instruction::Op::message:
        return send(turn, instruction, environment, frame);
    case Instruction::Op::block:
        return block(turn, instruction, environment, frame);
    case Instruction::Op::target:
        return execute(turn, instruction.body[0], environment,
                       Frame{instruction.expression->node.name(), frame.lasting});
    case Instruction::Op::during:
    case Instruction::Op::on_message:
        return observe(turn, instruction, environment, frame);
    case Instruction::Op::on_stop:
        on_stop(turn, instruction, environment, frame);
        return true;
    case Instruction::Op::let:
        return let(turn, instruction, environment);
    case Instruction::Op::match: {
        bool matched = false;
        return test(turn, instruction, environment, frame, matched);
    }
    }
    return true;
}

bool ScriptRun::block(Turn& turn, const Instruction& block, const Environment& outer,
                      const Frame& frame) {
    Environment environment = outer;
    for (const Instruction& instruction : block.body) {
        if (instruction.op == Instruction::Op::match) {
            bool matched = false;
            if (!test(turn, instruction, environment, frame, matched)) return false;
            if (matched) return true;
        } else if (!execute(turn, instruction, environment, frame)) {
            return false;
        }
    }
    return true;
}

// $x =~ PATTERN INSTRUCTION
bool ScriptRun::test(Turn& turn, const Instruction& match, const Environment& environment,
                     const Frame& frame, bool& matched) {
    Fault fault;
    Value value = Instantiator(environment, *narrowed_, fault).value(match.expression->node);
    if (!value.valid()) return fail(turn, fault);
    Environment inner = environment;
    if (!compare(turn, match.node, value, inner, matched)) return false;
    return !matched || execute(turn, match.body[0], inner, frame);
}

// Binds what `pattern` captures from `value`. False if the pattern itself is at fault.
bool ScriptRun::compare(Turn& turn, const Node& pattern, const Value& value,
                        Environment& environment, bool& matched) {
    matched = true;
    if (pattern.op == Node::Op::bind && pattern.items.empty()) {
        environment.bind(pattern.name(), value);
        return true;
    }
    Fault fault;
    std::vector<std::string> names;
    Value wire = Instantiator(environment, *narrowed_, fault).pattern(pattern, names);
    if (!wire.valid()) return fail(turn, fault);
    Result<dataspace::Pattern> parsed = dataspace::Pattern::parse(wire);
    if (!parsed) return fail(turn, pattern.place, parsed.error().message);
    std::vector<View> captured;
    matched = parsed->matches(value, &captured);
    if (!matched) return true;
    for (size_t i = 0; i < names.size() && i < captured.size(); ++i) {
        environment.bind(names[i], Value(captured[i]));
    }
    return true;
}

CapRef ScriptRun::find_target(Turn& turn, Place place, const Environment& environment,
                              const Frame& frame) {
    std::string name(frame.target);
    View value = environment.find(name);
    if (!value.valid() && name != ".") {
        fail(turn, place, "undefined variable $" + name + ", which is the target here");
        return {};
    }
    CapRef cap = dataspace::cap_of(value);
    if (!cap) fail(turn, place, "$" + name + " is the target here, but is not a capability");
    return cap;
}

bool ScriptRun::send(Turn& turn, const Instruction& instruction, const Environment& environment,
                     const Frame& frame) {
    Fault fault;
    Value value = Instantiator(environment, *narrowed_, fault).value(instruction.node);
    if (!value.valid()) return fail(turn, fault);
    CapRef target = find_target(turn, instruction.place, environment, frame);
    if (!target) return false;
    // A constant was checked when it was parsed.
    if (instruction.op == Instruction::Op::assert_ && script_->check() &&
        instruction.node.op != Node::Op::literal) {
        auto wrong = script_->check()(value);
        for (const auto& [part, message] : wrong)
            fail(turn, locate(instruction.node, value, part), message);
        if (!wrong.empty()) return false;
    }
    if (instruction.op == Instruction::Op::message) {
        perform(turn, target, [target, value](Turn& t) { t.message(target, value); });
    } else {
        perform(turn, target, [target, value](Turn& t) { t.assert_(target, value); });
    }
    return true;
}

bool ScriptRun::observe(Turn& turn, const Instruction& instruction, const Environment& environment,
                        const Frame& frame) {
    Fault fault;
    std::vector<std::string> names;
    Value wire = Instantiator(environment, *narrowed_, fault).pattern(instruction.node, names);
    if (!wire.valid()) return fail(turn, fault);
    CapRef target = find_target(turn, instruction.place, environment, frame);
    if (!target) return false;
    // A dataspace takes what is no good pattern for mere data, and nothing would ever happen.
    Result<dataspace::Pattern> parsed = dataspace::Pattern::parse(wire);
    if (!parsed) return fail(turn, instruction.node.place, parsed.error().message);
    const bool during = instruction.op == Instruction::Op::during;
    const Place place = instruction.place;
    Body body{Ref<ScriptRun>(this), &instruction.body[0], environment, std::move(names),
              Frame{frame.target, during}};
    if (during) {
        dataspace::during(turn, target, wire,
                          [body = std::move(body), place](Turn& t, View captures) {
                              if (!body.run->begin_reaction(t, place) || !body(t, captures))
                                  t.stop_current();
                          });
        return true;
    }
    perform(turn, target, [target, wire, body = std::move(body), place](Turn& t) {
        dataspace::on_message(t, target, wire, [body, place](Turn& outer, View captures) {
            outer.facet([&](Turn& inner) {
                if (!body.run->begin_reaction(inner, place) || !body(inner, captures))
                    inner.stop_current();
            });
        });
    });
    return true;
}

void ScriptRun::on_stop(Turn& turn, const Instruction& instruction, const Environment& environment,
                        const Frame& frame) {
    if (frame.lasting) stay(turn);
    // What stops in a rehearsal has never been: nothing is to be undone.
    turn.on_stop(
        [body = Body{Ref<ScriptRun>(this), &instruction.body[0], environment, {}, frame}](Turn& t) {
            if (!body.run->rehearsal_) body(t, View());
        });
}

bool ScriptRun::let(Turn& turn, const Instruction& instruction, Environment& environment) {
    Value value = evaluate(turn, *instruction.expression, environment);
    if (!value.valid()) return false;
    bool matched = false;
    if (!compare(turn, instruction.node, value, environment, matched)) return false;
    if (matched) return true;
    std::string text = preserves::to_text(value);
    if (text.size() > 200) text = "the value";
    return fail(turn, instruction.place, text + " does not match the pattern of this let");
}

Value ScriptRun::evaluate(Turn& turn, const Expression& expression,
                          const Environment& environment) {
    Fault fault;
    Value result;
    switch (expression.op) {
    case Expression::Op::node:
        result = Instantiator(environment, *narrowed_, fault).value(expression.node);
        break;
    case Expression::Op::pattern: {
        std::vector<std::string> names;
        result = Instantiator(environment, *narrowed_, fault).pattern(expression.node, names);
        break;
    }
    case Expression::Op::dataspace: {
        const Source& source = *script_->source();
        CapRef made = dataspace::spawn_dataspace(
            turn, "dataspace " + source.file + ":" +
                      std::to_string(source.places[expression.place].line));
        if (rehearsal_) own_.push_back(made);
        return dataspace::embed(made);
    }
    case Expression::Op::timestamp:
        return preserves::string(rfc3339_now());
    case Expression::Op::facet:
        return dataspace::embed(turn.make_cap(make_ref<FacetEntity>()));
    case Expression::Op::scriptdir:
        return preserves::string(script_->source()->directory);
    case Expression::Op::stringify: {
        Value value = evaluate(turn, expression.arguments[0], environment);
        if (!value.valid()) return {};
        return text(turn, expression.place, preserves::to_text(value));
    }
    case Expression::Op::join: {
        Value separator = evaluate(turn, expression.arguments[0], environment);
        if (!separator.valid()) return {};
        Value pieces = evaluate(turn, expression.arguments[1], environment);
        if (!pieces.valid()) return {};
        auto text_of = [](View value) {
            if (auto text = value.as_string()) return std::string(*text);
            return preserves::to_text(value);
        };
        // What is no sequence is the only piece.
        if (!pieces.is(Kind::sequence)) return text(turn, expression.place, text_of(pieces));
        std::string between = text_of(separator);
        std::string joined;
        bool first = true;
        for (View piece : pieces.view().items()) {
            if (!std::exchange(first, false)) joined += between;
            joined += text_of(piece);
            if (joined.size() > max_value_size) break;
        }
        return text(turn, expression.place, joined);
    }
    }
    if (!result.valid()) fail(turn, fault);
    return result;
}

Value ScriptRun::text(Turn& turn, Place place, const std::string& text) {
    if (text.size() <= max_value_size) return preserves::string(text);
    fail(turn, place, "the text is larger than 1 MiB");
    return {};
}

namespace {

class AtTheEnd {
  public:
    explicit AtTheEnd(Ref<ScriptRun> run) : run_(std::move(run)) {}
    ~AtTheEnd() { run_->drop_held(); }
    AtTheEnd(const AtTheEnd&) = delete;
    AtTheEnd& operator=(const AtTheEnd&) = delete;

  private:
    Ref<ScriptRun> run_;
};

} // namespace

Running run_script(Turn& turn, const Ref<Script>& script, const Environment& environment,
                   ReportInTurn report, const Running* predecessor, size_t most_reactions) {
    Running running;
    Ref<Narrowed> narrowed = predecessor && predecessor->run
                                 ? static_cast<ScriptRun&>(*predecessor->run).narrowed()
                                 : make_ref<Narrowed>();
    auto run = make_ref<ScriptRun>(script, std::move(report), predecessor != nullptr, narrowed,
                                   most_reactions);
    running.run = run;
    running.facet = turn.facet([&](Turn& inner) {
        stay(inner);
        // Also when nobody lets it out, and the facet is just forgotten.
        auto end = std::make_shared<AtTheEnd>(run);
        inner.on_stop([end](Turn&) {});
        run->set_facet(Ref<Facet>(&inner.current()));
        Environment mine = environment;
        running.failed = !run->execute(inner, script->root(), mine, Frame{initial_target, true});
        if (running.failed) inner.stop_current();
    });
    return running;
}

void release(Turn& turn, const Running& running) {
    if (running.run) static_cast<ScriptRun&>(*running.run).let_out(turn);
}

namespace {

size_t nesting(const Instruction& instruction) {
    size_t deepest = 0;
    for (const Instruction& part : instruction.body)
        deepest = std::max(deepest, nesting(part));
    return deepest + (instruction.op == Instruction::Op::during ? 1 : 0);
}

} // namespace

// Each level takes a turn there and one back, and hops of our own count as well; what goes through
// dataspaces of the script's own takes some more.
size_t rehearsal_turns(const Script& script) { return 8 + 4 * nesting(script.root()); }

} // namespace muster::config
