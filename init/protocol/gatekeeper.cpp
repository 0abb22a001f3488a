#include "init/protocol/gatekeeper.h"

#include <map>
#include <unordered_map>

#include "init/dataspace/dataspace.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/protocol/sturdyref.h"

namespace muster::protocol {

using dataspace::cap_of;
using dataspace::CapRef;
using dataspace::Caveats;
using dataspace::Entity;
using dataspace::Facet;
using dataspace::Handle;
using dataspace::Turn;
using preserves::Kind;
namespace pat = dataspace::pattern;

namespace {

Value accepted(Answers answers, View target) {
    return preserves::record(answers == Answers::ok ? "ok" : "accepted", {target});
}

Value rejected(Answers answers, View detail) {
    return preserves::record(answers == Answers::ok ? "error" : "rejected", {detail});
}

Value rejected(Answers answers, std::string_view detail) {
    return rejected(answers, preserves::symbol(detail));
}

// The caveats of a sturdyref cannot be put on the target.
Value unsound(Answers answers, const Error& error) {
    return rejected(answers, preserves::record("sturdyref-failed-validation",
                                               {preserves::string(error.message)}));
}

// An answer in our spelling, whichever it had; what is no answer stays as it is.
Value respell(Answers answers, const Value& answer) {
    View view = answer.view();
    if (view.is_record("accepted", 1) || view.is_record("ok", 1))
        return accepted(answers, view.at(0));
    if (view.is_record("rejected", 1) || view.is_record("error", 1))
        return rejected(answers, view.at(0));
    return answer;
}

// What the observer of a bind gets.
Value bound_answer(View description, View target) {
    auto error = [](std::string_view why) {
        return preserves::record("error", {preserves::symbol(why)});
    };
    if (!description.is_record("ref"))
        return error(description.label().as_symbol() ? "unsupported" : "invalid");
    View oid = description.at(0).get("oid");
    std::optional<preserves::Bytes> key = description.at(0).get("key").as_bytes();
    if (!oid.valid() || !key || !target.is(Kind::embedded)) return error("invalid");
    Result<Value> sturdyref = mint(oid, *key);
    return sturdyref ? preserves::record("bound", {*sturdyref}) : error("invalid");
}

// A resolution of a sturdyref, shared by the entities that watch for what may answer it.
class Resolution final : public Counted {
  public:
    Resolution(Value parameters, CapRef observer, Answers answers)
        : parameters_(std::move(parameters)), observer_(std::move(observer)), answers_(answers) {}

    void start(Turn& turn, const CapRef& bindspace, View step);
    void bind_appeared(Turn& turn, const Value& captures, Handle handle);
    void bind_gone(Turn& turn, Handle handle);
    void direct_answer(Turn& turn, const Value& answer, Handle handle);
    void direct_answer_gone(Turn& turn, Handle handle);

  private:
    SturdyParameters parameters() const { return *sturdy_parameters(parameters_); }
    Value answer_for(View bind) const;
    void decide(Turn& turn);

    Value parameters_;
    CapRef observer_;
    Answers answers_;
    std::map<Handle, Value> binds_; // for our oid, oldest first: [oid key target]
    Handle watch_ = 0;              // of the binds
    Handle answer_ = 0;
    Value said_;           // the answer; invalid: none
    Handle answering_ = 0; // the bind that was accepted; 0: none
    bool direct_ = false;
    std::unordered_map<Handle, Handle> direct_answers_; // theirs to ours
};

class BindWatcher final : public Entity {
  public:
    explicit BindWatcher(Ref<Resolution> resolution) : resolution_(std::move(resolution)) {}
    void on_assert(Turn& turn, const Value& captures, Handle handle) override {
        resolution_->bind_appeared(turn, captures, handle);
    }
    void on_retract(Turn& turn, Handle handle) override { resolution_->bind_gone(turn, handle); }

  private:
    Ref<Resolution> resolution_;
};

class DirectObserver final : public Entity {
  public:
    explicit DirectObserver(Ref<Resolution> resolution) : resolution_(std::move(resolution)) {}
    void on_assert(Turn& turn, const Value& answer, Handle handle) override {
        resolution_->direct_answer(turn, answer, handle);
    }
    void on_retract(Turn& turn, Handle handle) override {
        resolution_->direct_answer_gone(turn, handle);
    }

  private:
    Ref<Resolution> resolution_;
};

void Resolution::start(Turn& turn, const CapRef& bindspace, View step) {
    // The pattern cannot say that the oid is exactly ours, and of a set nothing at all.
    Value oid = pat::literal(parameters().oid);
    oid = oid.valid() ? pat::bind(oid) : pat::bind();
    Value pattern = pat::record(
        "bind", {pat::record("ref", {pat::dictionary({{"oid", oid}, {"key", pat::bind()}})}),
                 pat::bind(), pat::discard()});
    watch_ = observe(turn, bindspace, pattern, make_ref<BindWatcher>(Ref<Resolution>(this)));
    CapRef own = turn.make_cap(make_ref<DirectObserver>(Ref<Resolution>(this)));
    turn.assert_(bindspace, preserves::record("resolve", {step, embed(own)}));
}

void Resolution::bind_appeared(Turn& turn, const Value& captures, Handle handle) {
    // In the order of the keys: key before oid.
    View key = captures.view().at(0);
    View oid = captures.view().at(1);
    if (direct_ || !(oid == parameters().oid) || !key.is(Kind::bytes)) return;
    if (!captures.view().at(2).is(Kind::embedded)) return;
    binds_.emplace(handle, captures);
    decide(turn);
}

void Resolution::bind_gone(Turn& turn, Handle handle) {
    if (binds_.erase(handle)) decide(turn);
}

// The answer if the bind has the key of our signature; else nothing.
Value Resolution::answer_for(View bind) const {
    SturdyParameters ours = parameters();
    if (!is_signed(ours, *bind.at(0).as_bytes())) return {};
    CapRef target = cap_of(bind.at(2));
    if (!ours.caveats.valid() || ours.caveats.count() == 0)
        return accepted(answers_, embed(target));
    Result<Ref<Caveats>> all = Caveats::join(target->caveats(), ours.caveats);
    if (all) return accepted(answers_, embed(target->attenuate(*all)));
    return unsound(answers_, all.error());
}

void Resolution::decide(Turn& turn) {
    if (binds_.count(answering_)) return;
    Value answer;
    answering_ = 0;
    for (const auto& [handle, bind] : binds_) {
        answer = answer_for(bind);
        if (!answer.valid()) continue;
        answering_ = handle;
        break;
    }
    if (!answering_ && !binds_.empty()) answer = rejected(answers_, "sturdyref-failed-validation");
    if (answer == said_) return;
    turn.retract(std::exchange(answer_, 0));
    said_ = answer;
    if (answer.valid()) answer_ = turn.assert_(observer_, answer);
}

void Resolution::direct_answer(Turn& turn, const Value& answer, Handle handle) {
    if (!binds_.empty()) return; // too late
    if (!std::exchange(direct_, true)) turn.retract(std::exchange(watch_, 0));
    direct_answers_[handle] = turn.assert_(observer_, respell(answers_, answer));
}

void Resolution::direct_answer_gone(Turn& turn, Handle handle) {
    auto found = direct_answers_.find(handle);
    if (found == direct_answers_.end()) return;
    turn.retract(found->second);
    direct_answers_.erase(found);
}

class Gatekeeper final : public Entity {
  public:
    Gatekeeper(Ref<Facet> root, CapRef bindspace, Answers answers)
        : root_(std::move(root)), keep_(root_), bindspace_(std::move(bindspace)),
          answers_(answers) {}

    // Nobody can reach this gatekeeper any more: its actor has nothing left to do.
    ~Gatekeeper() override {
        keep_ = dataspace::KeepAlive();
        if (root_->alive())
            root_->actor().engine().external(root_, [](Turn& turn) { turn.stop_actor(); });
    }

    void on_assert(Turn& turn, const Value& value, Handle handle) override {
        if (!value.view().is_record("resolve", 2)) return;
        CapRef observer = cap_of(value.view().at(1));
        if (!observer) return; // nobody to tell
        resolutions_[handle] =
            turn.facet([&](Turn& inner) { resolve(inner, value.view().at(0), observer); });
    }

    void on_retract(Turn& turn, Handle handle) override {
        auto found = resolutions_.find(handle);
        if (found == resolutions_.end()) return;
        turn.stop(*found->second);
        resolutions_.erase(found);
    }

  private:
    void resolve(Turn& turn, View step, const CapRef& observer) {
        auto refuse = [&](std::string_view why) {
            turn.assert_(observer, rejected(answers_, why));
        };
        if (!step.label().as_symbol() || step.count() == 0) return refuse("invalid");
        if (!step.is_record("ref")) return refuse("unsupported");
        std::optional<SturdyParameters> parameters = sturdy_parameters(step.at(0));
        if (!parameters) return refuse("invalid");
        if (parameters->caveats.is(Kind::sequence)) {
            // Before any work is done on them.
            Result<Ref<Caveats>> caveats = Caveats::parse(parameters->caveats);
            if (!caveats) {
                turn.assert_(observer, unsound(answers_, caveats.error()));
                return;
            }
        }
        make_ref<Resolution>(Value(step.at(0)), observer, answers_)->start(turn, bindspace_, step);
    }

    Ref<Facet> root_;
    dataspace::KeepAlive keep_;
    CapRef bindspace_;
    Answers answers_;
    std::unordered_map<Handle, Ref<Facet>> resolutions_;
};

constexpr std::string_view actor_name = "gatekeeper";

} // namespace

bool is_gatekeeper(const CapRef& cap) { return cap->facet().actor().name() == actor_name; }

std::optional<Answers> answers_by_name(std::string_view name) {
    if (name == "accepted") return Answers::accepted;
    if (name == "ok") return Answers::ok;
    return std::nullopt;
}

CapRef spawn_gatekeeper(Turn& turn, const CapRef& bindspace, Answers answers) {
    Ref<dataspace::Actor> actor = turn.spawn(std::string(actor_name), [bindspace](Turn& inner) {
        Value every_bind = pat::record("bind", {pat::bind(), pat::bind(), pat::bind()});
        during(inner, bindspace, every_bind, [](Turn& one, View captures) {
            CapRef observer = cap_of(captures.at(2));
            if (observer) one.assert_(observer, bound_answer(captures.at(0), captures.at(1)));
        });
    });
    Ref<Facet> root(&actor->root());
    return make_ref<dataspace::Cap>(root, make_ref<Gatekeeper>(root, bindspace, answers));
}

void serve_gatekeepers(Turn& turn, const CapRef& config, Answers answers) {
    Value pattern =
        pat::record("run-service", {pat::bind(pat::record("gatekeeper", {pat::discard()}))});
    during(turn, config, pattern, [config, answers](Turn& inner, View captures) {
        Value name(captures.at(0));
        auto say = [&](std::string_view label, View what) {
            inner.assert_(config, preserves::record(label, {name, what}));
        };
        CapRef bindspace = cap_of(name.view().at(0));
        View spelling = name.view().at(1).get("answers");
        std::optional<Answers> own =
            spelling.valid() ? answers_by_name(spelling.as_text().value_or("")) : answers;
        if (!bindspace || !own) {
            say("service-state", preserves::symbol("failed"));
            return;
        }
        CapRef gatekeeper = spawn_gatekeeper(inner, bindspace, *own);
        say("service-state", preserves::symbol("started"));
        say("service-state", preserves::symbol("ready"));
        say("service-object", embed(gatekeeper));
        // Who still has the capability finds it dead.
        Ref<Facet> root(&gatekeeper->facet());
        inner.on_stop([root](Turn& last) {
            last.engine().external(root, [](Turn& own_turn) { own_turn.stop_actor(); });
        });
    });
}

} // namespace muster::protocol
