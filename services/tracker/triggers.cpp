#include "services/tracker/triggers.h"

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <unordered_set>

#include "init/base/fnv.h"
#include "init/base/rfc3339.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "services/tracker/kept_matches.h"
#include "services/tracker/service.h"

namespace muster::services {

using dataspace::CapRef;
using dataspace::Turn;
namespace pat = dataspace::pattern;

namespace {

// How often a new trigger goes through the dataspaces until what it finds is something new: facts
// that are there because it asks for them have come by then.
constexpr int rounds_until_new = 8;

void say(Turn& turn, const CapRef& log, const std::string& line) {
    Value text = preserves::string(line);
    Value source = preserves::symbol("muster");
    Value entry = preserves::dictionary({{"line", text}, {"service", source}});
    Value stamp = preserves::string(rfc3339_now());
    turn.message(log, preserves::record("log", {stamp, entry}));
}

// A service that something starts. It lives as long as its facet.
class Started final : public Counted {
  public:
    Started(TriggerSpaces spaces, Value name)
        : config_(std::move(spaces.config)), machine_(std::move(spaces.machine)),
          log_(std::move(spaces.log)), kept_(spaces.matches), name_(std::move(name)) {}

    void serve(Turn& turn) {
        facet_ = Ref<dataspace::Facet>(&turn.current());
        begun_ = number_of(preserves::symbol("begun"));
        if (came(begun_)) begin(turn, false);
        left(begun_);
        turn.on_stop([self = Ref<Started>(this)](Turn&) {
            if (self->need_ != 0) self->left(self->begun_);
        });
        Value literal = pat::literal(name_);
        if (!literal.valid())
            return say(turn, log_,
                       preserves::to_text(without_capabilities(name_)) +
                           " is started by nothing: its name holds a set");
        Value name = pat::bind(literal); // which also stands for what begins like it
        Ref<Started> self(this);
        during(turn, config_, pat::record("started-by", {name, pat::bind()}),
               [self](Turn& t, View seen) {
                   if (seen.at(0) == self->name_.view()) self->add(t, seen.at(1));
               });
        watch(turn, pat::record("service-state", {name, pat::bind()}),
              [self](Turn& t, View seen, bool present) {
                  auto word = seen.at(1).as_symbol();
                  if (word && present)
                      self->states_.insert(std::string(*word));
                  else if (word)
                      self->states_.erase(std::string(*word));
                  // It was begun before we were there.
                  if (present && !self->settled_) self->begin(t, false);
              });
        watch(turn, pat::record("idle-stop", {name, pat::discard()}),
              [self](Turn&, View, bool present) { self->stops_when_idle_ = present; });
        Value down = pat::literal(preserves::symbol("down"));
        watch(turn, pat::record("service-override", {name, down}),
              [self](Turn&, View, bool present) { self->held_down_ = present; });
        wait(turn, rounds_until_new, [self](Turn& t) {
            self->settled_ = true;
            if (std::exchange(self->again_, false)) self->begin(t, true);
        });
    }

  private:
    void watch(Turn& turn, const Value& pattern, std::function<void(Turn&, View, bool)> change) {
        auto told = [self = Ref<Started>(this), change](bool present) {
            return [self, change, present](Turn& t, View seen) {
                if (!(seen.at(0) == self->name_.view())) return;
                change(t, seen, present);
                self->consider(t);
            };
        };
        observe(turn, config_, pattern, told(true), told(false));
    }

    // In a facet of its own, for as long as the condition is there.
    void add(Turn& turn, View condition) {
        Value pattern = pattern_of_condition(condition);
        if (!pattern.valid()) {
            say(turn, log_,
                display_name(name_) + " is started by " +
                    preserves::to_text(without_capabilities(condition)) +
                    ", which is neither <present PATTERN> nor <message PATTERN>");
            return;
        }
        Ref<Started> self(this);
        if (condition.is_record("message", 1)) {
            for (const CapRef& space : {config_, machine_})
                on_message(turn, space, pat::bind(pattern),
                           [self](Turn& t, View) { self->begin(t, true); });
            return;
        }
        const uint64_t trigger = number_of(condition);
        const bool from_before = came(trigger);
        auto settled = std::make_shared<bool>(false);
        wait(turn, rounds_until_new, [settled](Turn&) { *settled = true; });
        auto there = std::make_shared<std::unordered_multiset<uint64_t>>();
        for (bool machine : {false, true}) {
            auto number = [this, trigger, machine](View match) {
                return number_of(preserves::record(
                    machine ? "machine" : "config",
                    {preserves::integer(static_cast<int64_t>(trigger)), Value(match)}));
            };
            observe(
                turn, machine ? machine_ : config_, pat::bind(pattern),
                [=](Turn& t, View seen) {
                    const uint64_t match = number(seen.at(0));
                    there->insert(match);
                    ++self->matches_;
                    // What services say of themselves in `$config` changes while they are adopted.
                    if (self->came(match)) return; // what it began may have been stopped since
                    self->begin(t, *settled || (machine && from_before));
                },
                [=](Turn& t, View seen) {
                    const uint64_t match = number(seen.at(0));
                    there->erase(there->find(match));
                    --self->matches_;
                    self->left(match);
                    self->consider(t);
                });
        }
        turn.on_stop([self, there, trigger](Turn& t) {
            self->matches_ -= there->size();
            for (uint64_t match : *there)
                self->left(match);
            self->left(trigger);
            self->consider(t);
        });
    }

    // Of what is there, for a second stage after us.
    uint64_t number_of(View value) const {
        return fnv1a(without_capabilities(preserves::record("of", {name_, Value(value)})).bytes());
    }
    bool came(uint64_t match) { return kept_ && kept_->came(match); }
    void left(uint64_t match) {
        if (kept_) kept_->left(match);
    }

    void wait(Turn& turn, int rounds, std::function<void(Turn&)> then) {
        turn.sync(config_, [self = Ref<Started>(this), rounds, then](Turn& t) {
            t.sync(self->machine_, [self, rounds, then](Turn& later) {
                if (rounds == 1) return then(later);
                self->wait(later, rounds - 1, then);
            });
        });
    }

    // `again`: if it has been run already, it is once more.
    void begin(Turn& turn, bool again) {
        if (held_down_ || !facet_->alive()) return;
        if (need_ == 0) {
            came(begun_);
            turn.in(*facet_, [&](Turn& t) {
                need_ = t.assert_(config_, preserves::record("require-service", {name_}));
            });
        }
        if (again && !settled_)
            again_ = true; // whether it has been is not known yet
        else if (again && (has("complete") || has("failed")))
            turn.message(config_, preserves::record("restart-service", {name_}));
    }

    void consider(Turn& turn) {
        bool idle = stops_when_idle_ && has("ready") && matches_ == 0;
        if (need_ == 0 || !(held_down_ || idle)) return;
        left(begun_);
        turn.retract(std::exchange(need_, 0));
    }

    bool has(const char* state) const { return states_.count(state) != 0; }

    CapRef config_;
    CapRef machine_;
    CapRef log_;
    KeptMatches* kept_;
    Value name_;
    Ref<dataspace::Facet> facet_;
    std::set<std::string> states_;
    size_t matches_ = 0;
    bool stops_when_idle_ = false;
    bool held_down_ = false;
    bool settled_ = false; // what was there at first has been seen
    bool again_ = false;   // then it is to be run once more, if it was already
    Handle need_ = 0;
    uint64_t begun_ = 0; // of kept_, while there is the need
};

} // namespace

void serve_triggers(Turn& turn, const TriggerSpaces& spaces) {
    during(turn, spaces.config, pat::record("started-by", {pat::bind(), pat::discard()}),
           [spaces](Turn& inner, View seen) {
               make_ref<Started>(spaces, Value(seen.at(0)))->serve(inner);
           });
}

} // namespace muster::services
