#include "services/daemon/daemons.h"

#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "services/daemon/daemon.h"
#include "services/daemon/window.h"

namespace muster::services {

namespace {

namespace pattern = dataspace::pattern;

// What is known of the configuration, and the daemons that come of it.
class Daemons : public Counted {
  public:
    explicit Daemons(const Context& context)
        : shared_(std::make_shared<const Context>(context)), context_(*shared_) {}

    void serve(Turn& turn);

  private:
    using Ids = std::unordered_set<Value, preserves::ValueHash, preserves::ValueEqual>;
    template <typename T>
    using ById = std::unordered_map<Value, T, preserves::ValueHash, preserves::ValueEqual>;

    void changed(Turn& turn, const Value& id);
    void wait_for_judgement(Turn& turn, const Value& id, int rounds);
    void reconcile(Turn& turn, const Value& id);
    void restart(Turn& turn, View service);
    Ref<Daemon> make_daemon(Turn& turn, const Value& id);
    void adopt(Turn& turn);
    void end_hold(Turn& turn);

    std::shared_ptr<const Context> shared_;
    const Context& context_;
    ById<std::vector<Value>> specs_;
    Ids wanted_;
    Ids declared_ready_;
    ById<Ref<Daemon>> daemons_;
    bool system_ends_ = false;
    Ids undefined_;              // and wanted, when they were looked at last
    Ids waiting_;                // of those, the ones that are defined now: wait_for_judgement
    std::vector<Value> changed_; // in the order in which they did
    Ids has_changed_;
};

// ID of exactly `<daemon ID>`: patterns are open, so `<daemon a b>` comes here too.
View daemon_id(View service) {
    return service.is_record("daemon", 1) && service.count() == 1 ? service.at(0) : View();
}

void Daemons::serve(Turn& turn) {
    Ref<Daemons> self(this);
    adopt(turn);
    Value any_daemon = pattern::bind(pattern::record("daemon", {pattern::discard()}));
    auto note = [self](Ids Daemons::*set, bool there) {
        return [self, set, there](Turn& inner, View captures) {
            View id = daemon_id(captures.at(0));
            if (!id.valid()) return;
            if (there)
                (self.get()->*set).insert(Value(id));
            else
                (self.get()->*set).erase(Value(id));
            self->changed(inner, Value(id));
        };
    };
    dataspace::observe(turn, context_.config, pattern::record("run-service", {any_daemon}),
                       note(&Daemons::wanted_, true), note(&Daemons::wanted_, false));
    dataspace::observe(turn, context_.config,
                       pattern::record("service-state",
                                       {any_daemon, pattern::literal(preserves::symbol("ready"))}),
                       note(&Daemons::declared_ready_, true),
                       note(&Daemons::declared_ready_, false));
    dataspace::observe(
        turn, context_.config, pattern::record("daemon", {pattern::bind(), pattern::bind()}),
        [self](Turn& inner, View captures) {
            self->specs_[Value(captures.at(0))].push_back(Value(captures.at(1)));
            self->changed(inner, Value(captures.at(0)));
        },
        [self](Turn& inner, View captures) {
            Value id(captures.at(0));
            auto known = self->specs_.find(id);
            if (known == self->specs_.end()) return;
            std::erase(known->second, Value(captures.at(1)));
            if (known->second.empty()) self->specs_.erase(known);
            self->changed(inner, id);
        });
    dataspace::on_message(
        turn, context_.config, pattern::record("restart-service", {any_daemon}),
        [self](Turn& inner, View captures) { self->restart(inner, captures.at(0)); });
    dataspace::observe(turn, context_.config, pattern::record("system-ends", {}),
                       [self](Turn&, View) { self->system_ends_ = true; }, {});
}

void Daemons::changed(Turn& turn, const Value& id) {
    if (changed_.empty())
        turn.before_commit([self = Ref<Daemons>(this)](Turn& last) {
            std::vector<Value> ids = std::move(self->changed_);
            self->changed_.clear();
            self->has_changed_.clear();
            for (const Value& each : ids)
                self->reconcile(last, each);
        });
    if (has_changed_.insert(id).second) changed_.push_back(id);
}

void Daemons::reconcile(Turn& turn, const Value& id) {
    auto found = daemons_.find(id);
    Ref<Daemon> daemon = found != daemons_.end() ? found->second : Ref<Daemon>();
    if (wanted_.find(id) != wanted_.end()) {
        if (!daemon) daemon = make_daemon(turn, id);
        auto specs = specs_.find(id);
        if (specs == specs_.end()) {
            undefined_.insert(id);
            daemon->run(turn, {});
        } else if (undefined_.count(id) > 0 && !daemon->held()) {
            if (waiting_.insert(id).second) wait_for_judgement(turn, id, judgement_rounds);
        } else {
            undefined_.erase(id);
            daemon->run(turn, specs->second);
        }
    } else {
        undefined_.erase(id);
        if (daemon && !daemon->held()) daemon->stop(turn);
    }
    if (daemon) daemon->set_declared_ready(turn, declared_ready_.find(id) != declared_ready_.end());
}

// It was wanted before it was defined. With its definition what it depends on may have come, and
// who wants it (the tracker) has not seen that yet: it may take that back.
void Daemons::wait_for_judgement(Turn& turn, const Value& id, int rounds) {
    turn.sync(context_.config, [self = Ref<Daemons>(this), id, rounds](Turn& later) {
        if (rounds > 0) return self->wait_for_judgement(later, id, rounds - 1);
        self->waiting_.erase(id);
        self->undefined_.erase(id);
        self->changed(later, id);
    });
}

Ref<Daemon> Daemons::make_daemon(Turn& turn, const Value& id) {
    auto daemon =
        make_ref<Daemon>(shared_, turn.engine(), id, [this, id](Turn&) { daemons_.erase(id); });
    turn.facet([&](Turn& inner) { daemon->attach(Ref<Facet>(&inner.current())); });
    daemons_[id] = daemon;
    return daemon;
}

// All that ran before us, in the states that they were in.
void Daemons::adopt(Turn& turn) {
    Adoption* adoption = context_.adoption;
    if (adoption == nullptr) return;
    for (LedgerEntry& entry : adoption->take_entries()) {
        auto id = Ledger::value_of(Ledger::id_of(*entry.operator->()));
        auto spec = Ledger::value_of(Ledger::spec_of(*entry.operator->()));
        if (!id || !spec) continue; // of no use: it is removed
        auto found = daemons_.find(*id);
        Ref<Daemon> daemon = found != daemons_.end() ? found->second : make_daemon(turn, *id);
        daemon->adopt(turn, *spec, std::move(entry));
    }
    size_t strangers = context_.processes.end_unclaimed();
    if (strangers > 0)
        turn.message(context_.log,
                     log_record(preserves::symbol("muster"), "supervisor",
                                std::to_string(strangers) + " processes of an earlier second "
                                                            "stage are of nobody: ended",
                                0));
    if (!adoption->settling()) return;
    adoption->hold(
        [self = Ref<Daemons>(this), facet = Ref<Facet>(&turn.current()), &engine = turn.engine()] {
            engine.external(facet, [self](Turn& inner) { self->end_hold(inner); });
        });
}

void Daemons::end_hold(Turn& turn) {
    std::vector<Value> ids;
    for (const auto& [id, daemon] : daemons_)
        if (daemon->held()) ids.push_back(id);
    for (const Value& id : ids) {
        auto found = daemons_.find(id);
        if (found == daemons_.end()) continue;
        found->second->end_hold();
        reconcile(turn, id);
    }
}

void Daemons::restart(Turn& turn, View service) {
    View id = daemon_id(service);
    auto found = id.valid() ? daemons_.find(id) : daemons_.end();
    // Who needs it may not have stopped yet. A log writer that hangs would keep others from that.
    bool refused = system_ends_ && !id.is_symbol(logs::writer_name);
    if (found != daemons_.end() && !refused) {
        Ref<Daemon> daemon = found->second;
        daemon->restart(turn);
        return;
    }
    turn.message(
        context_.log,
        log_record(Value(service), "supervisor",
                   refused ? "restart: not while the system ends" : "restart: it does not run", 0));
}

} // namespace

void serve_daemons(dataspace::Turn& turn, const Context& context) {
    turn.spawn("daemons", [context](Turn& boot) {
        Context own = context;
        if (!own.sockets) own.sockets = std::make_shared<ListenSockets>();
        if (own.adoption) own.sockets->set_keeper(own.adoption->keeper());
        own.gathering =
            std::make_shared<Gathering>(own.loop, boot.engine(), Ref<Facet>(&boot.current()));
        // What processes get of these is for looking.
        if (own.machine) own.machine = spawn_window(boot, own.machine);
        if (own.status) own.status = spawn_window(boot, own.status);
        make_ref<Daemons>(own)->serve(boot);
    });
}

} // namespace muster::services
