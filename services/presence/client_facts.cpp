#include "services/presence/client_facts.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "services/presence/retry.h"
#include "services/tracker/service.h"

namespace muster::services {

using dataspace::Handle;
using dataspace::Turn;
using preserves::Value;
using preserves::View;
namespace pat = dataspace::pattern;

namespace {

// The sockets of one service. It lives as long as its facet.
class Door final : public Counted {
  public:
    Door(PresenceContext context, Value service)
        : context_(std::move(context)), service_(std::move(service)), retry_(context_) {}

    void serve(Turn& turn) {
        facet_ = Ref<dataspace::Facet>(&turn.current());
        keep_ = dataspace::KeepAlive(facet_);
        turn.on_stop([self = Ref<Door>(this)](Turn&) { self->close(); });
        Value name = pat::bind(pat::literal(service_));
        Value id = pat::bind(pat::literal(service_.view().at(0)));
        Ref<Door> self(this);
        watch(turn, pat::record("daemon", {id, pat::bind()}), service_.view().at(0),
              [self](View spec, bool present) {
                  if (present)
                      self->specs_.emplace_back(spec);
                  else
                      std::erase(self->specs_, Value(spec));
                  self->sockets_changed_ = true;
              });
        watch(turn, pat::record("service-state", {name, pat::bind()}), service_,
              [self](View state, bool present) {
                  auto word = state.as_symbol();
                  if (word && present)
                      self->states_.insert(std::string(*word));
                  else if (word)
                      self->states_.erase(std::string(*word));
              });
    }

    // Also when the actor is gone: watches hold what holds them.
    void close() {
        sockets_.clear();
        pause_.cancel();
        retry_.done();
        keep_ = {};
        facet_ = nullptr;
    }

  private:
    struct Socket {
        Ref<ListenSocket> socket;
        Watch watch;
        Handle come = 0; // somebody has
    };

    void watch(Turn& turn, const Value& pattern, View exactly,
               std::function<void(View, bool)> change) {
        auto told = [self = Ref<Door>(this), exactly = Value(exactly), change](bool present) {
            return [self, exactly, change, present](Turn& t, View seen) {
                if (!(seen.at(0) == exactly.view())) return;
                change(seen.at(1), present);
                if (std::exchange(self->update_scheduled_, true)) return;
                t.before_commit([self](Turn& last) {
                    self->update_scheduled_ = false;
                    self->update(last);
                });
            };
        };
        observe(turn, context_.config, pattern, told(true), told(false));
    }

    bool waiting() const {
        return std::all_of(states_.begin(), states_.end(),
                           [](const std::string& each) { return each == "complete"; });
    }

    void update(Turn& turn) {
        if (!facet_ || !facet_->alive()) return;
        if (std::exchange(sockets_changed_, false)) open(turn);
        bool now = waiting();
        if (!now) {
            for (auto& [name, each] : sockets_) {
                turn.retract(std::exchange(each.come, 0));
                each.watch.cancel();
            }
            pause_.cancel();
        } else if (!waited_ && too_often()) {
            if (!std::exchange(said_, true))
                context_.report(turn, display_name(service_) +
                                          " is started too often by its clients: they wait");
            pause_ = context_.loop.after(context_.client_window, [this] {
                times_.clear();
                said_ = false;
                watch_all();
            });
        } else if (!pause_.pending()) {
            watch_all();
        }
        waited_ = now;
    }

    bool too_often() {
        uint64_t since = monotonic_now() - std::min(monotonic_now(), context_.client_window);
        std::erase_if(times_, [&](uint64_t time) { return time < since; });
        return times_.size() > context_.client_burst;
    }

    // Opens what is new before it lets go of what is not asked for any more.
    void open(Turn& turn) {
        std::map<std::string, Socket> before = std::exchange(sockets_, {});
        std::string refused; // by the system, for now
        for (const Value& spec : specs_) {
            View listen =
                spec.view().is(preserves::Kind::dictionary) ? spec.view().get("listen") : View();
            if (!listen.valid()) continue;
            auto opened = context_.sockets->open_all(listen);
            if (!opened) {
                std::string line = display_name(service_) + ": " + opened.error().message;
                if (opened.error().number != 0)
                    refused = line;
                else
                    context_.report(turn, line);
                continue;
            }
            for (Ref<ListenSocket>& socket : *opened) {
                std::string key = preserves::to_text(socket->address());
                auto known = before.find(key);
                if (known != before.end())
                    sockets_.insert(before.extract(known));
                else
                    sockets_[key].socket = std::move(socket);
            }
        }
        for (auto& [key, each] : before)
            turn.retract(each.come);
        if (refused.empty())
            retry_.done();
        else
            retry_.later(turn, refused, facet_, [self = Ref<Door>(this)](Turn& t) {
                self->sockets_changed_ = true;
                self->update(t);
            });
    }

    void watch_all() {
        for (auto& [key, each] : sockets_) {
            if (each.watch || each.come != 0) continue;
            auto watch =
                context_.loop.watch(each.socket->fd(), EPOLLIN, [this, key = key](uint32_t) {
                    auto found = sockets_.find(key);
                    if (found == sockets_.end()) return;
                    found->second.watch.cancel();
                    facet_->actor().engine().external(
                        facet_,
                        [self = Ref<Door>(this), key](Turn& turn) { self->come(turn, key); });
                });
            if (watch) each.watch = *std::move(watch);
        }
    }

    void come(Turn& turn, const std::string& key) {
        auto found = sockets_.find(key);
        if (found == sockets_.end() || found->second.come != 0 || !waiting()) return;
        times_.push_back(monotonic_now());
        Value name = preserves::string(found->second.socket->name());
        found->second.come =
            turn.assert_(context_.machine, preserves::record("client", {service_, name}));
    }

    PresenceContext context_;
    Value service_;
    Ref<dataspace::Facet> facet_;
    dataspace::KeepAlive keep_;
    std::vector<Value> specs_;
    std::set<std::string> states_;
    bool sockets_changed_ = false;
    bool update_scheduled_ = false;
    bool waited_ = false;
    bool said_ = false;
    std::map<std::string, Socket> sockets_; // by SOCKET, as text
    std::vector<uint64_t> times_;           // when clients came, the last few
    Timer pause_;
    Retry retry_;
};

struct Open {
    Ref<Door> door;
    Ref<dataspace::Facet> facet;
};
using Doors = std::unordered_map<Value, Open, preserves::ValueHash, preserves::ValueEqual>;

} // namespace

void serve_client_facts(Turn& turn, Interests& interests, const PresenceContext& context) {
    if (!context.sockets) return;
    auto doors = std::make_shared<Doors>();
    turn.actor().on_forget([doors] {
        for (const auto& [service, open] : *doors)
            open.door->close();
        doors->clear();
    });
    Interest interest;
    interest.begin = [context, doors](Turn& t, const Value& service) {
        if (!service.valid()) return; // nobody in particular
        if (!service.view().is_record("daemon", 1) || !pat::literal(service).valid()) {
            context.report(t, display_name(service) + " has no sockets: it is no daemon");
            return;
        }
        Open open;
        open.door = make_ref<Door>(context, service);
        open.facet = t.facet([&](Turn& inner) { open.door->serve(inner); });
        (*doors)[service] = open;
    };
    interest.end = [doors](Turn& t, const Value& service) {
        auto found = service.valid() ? doors->find(service) : doors->end();
        if (found == doors->end()) return;
        t.stop(*found->second.facet);
        doors->erase(found);
    };
    interests.add("client", std::move(interest));
}

} // namespace muster::services
