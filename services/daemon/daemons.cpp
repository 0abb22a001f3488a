#include "services/daemon/daemons.h"

#include <algorithm>
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
    explicit Daemons(const Context& context) : context_(context) {}

    void serve(Turn& turn);

  private:
    using Ids = std::unordered_set<Value, preserves::ValueHash, preserves::ValueEqual>;
    template <typename T>
    using ById = std::unordered_map<Value, T, preserves::ValueHash, preserves::ValueEqual>;

    void changed(Turn& turn, const Value& id);
    void reconcile(Turn& turn, const Value& id);
    void restart(Turn& turn, View service);
    Ref<Daemon> make_daemon(Turn& turn, const Value& id);

    Context context_;
    ById<std::vector<Value>> specs_;
    Ids wanted_;
    Ids declared_ready_;
    ById<Ref<Daemon>> daemons_;
    std::vector<Value> changed_;
};

// ID of exactly `<daemon ID>`: patterns are open, so `<daemon a b>` comes here too.
View daemon_id(View service) {
    return service.is_record("daemon", 1) && service.count() == 1 ? service.at(0) : View();
}

void Daemons::serve(Turn& turn) {
    Ref<Daemons> self(this);
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
}

void Daemons::changed(Turn& turn, const Value& id) {
    if (changed_.empty())
        turn.before_commit([self = Ref<Daemons>(this)](Turn& last) {
            std::vector<Value> ids = std::move(self->changed_);
            self->changed_.clear();
            for (const Value& each : ids)
                self->reconcile(last, each);
        });
    if (std::find(changed_.begin(), changed_.end(), id) == changed_.end()) changed_.push_back(id);
}

void Daemons::reconcile(Turn& turn, const Value& id) {
    auto found = daemons_.find(id);
    Ref<Daemon> daemon = found != daemons_.end() ? found->second : Ref<Daemon>();
    if (wanted_.find(id) != wanted_.end()) {
        if (!daemon) daemon = make_daemon(turn, id);
        auto specs = specs_.find(id);
        daemon->run(turn, specs != specs_.end() ? specs->second : std::vector<Value>());
    } else if (daemon) {
        daemon->stop(turn);
    }
    if (daemon) daemon->set_declared_ready(turn, declared_ready_.find(id) != declared_ready_.end());
}

Ref<Daemon> Daemons::make_daemon(Turn& turn, const Value& id) {
    auto daemon =
        make_ref<Daemon>(context_, turn.engine(), id, [this, id](Turn&) { daemons_.erase(id); });
    turn.facet([&](Turn& inner) { daemon->attach(Ref<Facet>(&inner.current())); });
    daemons_[id] = daemon;
    return daemon;
}

void Daemons::restart(Turn& turn, View service) {
    View id = daemon_id(service);
    auto found = id.valid() ? daemons_.find(id) : daemons_.end();
    if (found != daemons_.end()) {
        Ref<Daemon> daemon = found->second;
        daemon->restart(turn);
        return;
    }
    turn.message(context_.log,
                 log_record(Value(service), "supervisor", "restart: it does not run", 0));
}

} // namespace

void serve_daemons(dataspace::Turn& turn, const Context& context) {
    turn.spawn("daemons", [context](Turn& boot) {
        Context own = context;
        // What processes get of these is for looking.
        if (own.machine) own.machine = spawn_window(boot, own.machine);
        if (own.status) own.status = spawn_window(boot, own.status);
        make_ref<Daemons>(own)->serve(boot);
    });
}

} // namespace muster::services
