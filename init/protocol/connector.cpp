#include "init/protocol/connector.h"

#include <map>
#include <unordered_map>

#include "init/dataspace/dataspace.h"
#include "init/dataspace/engine.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "init/protocol/relay.h"
#include "init/protocol/sockets.h"

namespace muster::protocol {

using dataspace::cap_of;
using dataspace::CapRef;
using dataspace::Entity;
using dataspace::Facet;
using dataspace::Handle;
using dataspace::Turn;
using preserves::Kind;
using preserves::Value;
using preserves::View;
namespace pat = dataspace::pattern;

using Report = std::function<void(const std::string&)>;

namespace {

// Between two attempts to connect; a connection that held for the longest begins anew.
constexpr uint64_t first_retry = 100 * millisecond;
constexpr uint64_t longest_retry = 10 * second;

Value question(View request) { return preserves::record("q", {request}); }
Value answer(View request, View response) { return preserves::record("a", {request, response}); }
Value ok(View value) { return preserves::record("ok", {value}); }
Value error(View detail) { return preserves::record("error", {detail}); }

// Answers to requests with this label; `first` narrows what is looked at by the first field.
Value answers_to(std::string_view label, View first) {
    return pat::record("a", {pat::bind(pat::record(label, {first})), pat::bind()});
}

// ---- Connections -----------------------------------------------------------------------------
//
// connecting -> up -> down, waiting to try again -> connecting …; stopped at any time.
class Link final : public Counted {
  public:
    Link(EventLoop& loop, dataspace::Engine& engine, CapRef config, Value request, Report report)
        : loop_(loop), engine_(engine), config_(std::move(config)), request_(std::move(request)),
          report_(std::move(report)) {}

    void start(Turn& turn) {
        facet_ = Ref<Facet>(&turn.current());
        keep_ = dataspace::KeepAlive(facet_);
        turn.on_stop([self = Ref<Link>(this)](Turn&) { self->stop(); });
        connect();
    }
    // Not before this round of the loop is over: it may be the connection that calls.
    void drop() {
        loop_.defer([self = Ref<Link>(this)] { self->connection_ = Connection(); });
    }

  private:
    View address() const { return request_.view().at(0); }
    void connect();
    void decided();
    void up(Turn& turn, const CapRef& session);
    void down(const std::string& reason);
    void try_again();
    void stop();

    EventLoop& loop_;
    dataspace::Engine& engine_;
    CapRef config_;
    Value request_;
    Report report_;
    Ref<Facet> facet_;
    dataspace::KeepAlive keep_;
    Fd socket_; // while connecting
    Watch watch_;
    Timer retry_;
    Connection connection_;
    Handle answer_ = 0;
    uint64_t delay_ = first_retry;
    uint64_t since_ = 0; // when it was up
    bool reported_ = false;
    bool stopped_ = false;
};

class Control final : public Entity {
  public:
    explicit Control(Ref<Link> link) : link_(std::move(link)) {}
    void on_message(Turn&, const Value& body) override {
        if (body.view().is_record("force-disconnect")) link_->drop();
    }

  private:
    Ref<Link> link_;
};

void Link::connect() {
    Result<Fd> socket = begin_connect(address());
    if (socket) {
        socket_ = *std::move(socket);
        auto watch = loop_.watch(socket_.get(), EPOLLOUT,
                                 [self = Ref<Link>(this)](uint32_t) { self->decided(); });
        if (watch) {
            watch_ = *std::move(watch);
            return;
        }
        socket = watch.error();
    }
    bool hopeless = socket.error().message.empty();
    if (hopeless)
        socket = Error{preserves::to_text(address()) +
                       ": expected <unix \"PATH\"> or <tcp \"HOST\" PORT>"};
    if (!std::exchange(reported_, true) && report_) report_(socket.error().message);
    if (!hopeless) try_again();
}

void Link::decided() {
    Ref<Link> self(this);
    watch_.cancel();
    Fd socket = std::move(socket_);
    Result<> result = connected(socket.get(), address());
    if (!result) {
        if (!std::exchange(reported_, true) && report_) report_(result.error().message);
        try_again();
        return;
    }
    RelayOptions options;
    options.name = preserves::to_text(address());
    options.on_peer = [self](Turn& turn, const CapRef& session) {
        turn.engine().external(self->facet_,
                               [self, session](Turn& own) { self->up(own, session); });
    };
    options.on_closed = [self](const std::string& reason) { self->down(reason); };
    since_ = monotonic_now();
    connection_ = Connection::start(engine_, loop_, std::move(socket), Fd(), std::move(options));
}

void Link::up(Turn& turn, const CapRef& session) {
    if (stopped_ || !connection_) return;
    reported_ = false;
    Value control = embed(turn.make_cap(make_ref<Control>(Ref<Link>(this))));
    Value link = preserves::record("connected-transport", {address(), control, embed(session)});
    answer_ = turn.assert_(config_, answer(request_, ok(link)));
}

void Link::down(const std::string& reason) {
    if (stopped_) return;
    if (!reason.empty() && report_) report_(preserves::to_text(address()) + ": " + reason);
    drop();
    if (monotonic_now() - since_ >= longest_retry) delay_ = first_retry;
    engine_.external(facet_, [self = Ref<Link>(this)](Turn& turn) {
        turn.retract(std::exchange(self->answer_, 0));
    });
    try_again();
}

void Link::try_again() {
    if (stopped_) return;
    retry_ = loop_.after(std::exchange(delay_, std::min(delay_ * 2, longest_retry)),
                         [self = Ref<Link>(this)] { self->connect(); });
}

void Link::stop() {
    stopped_ = true;
    watch_.cancel();
    retry_.cancel();
    socket_.reset();
    keep_ = {};
    drop();
}

// ---- Steps -----------------------------------------------------------------------------------

// What a gatekeeper said, as the answer to `resolve-path-step`.
Value step_result(View said) {
    bool good = said.is_record("ok", 1) || said.is_record("accepted", 1);
    if (good && said.at(0).is(Kind::embedded)) return ok(said.at(0));
    if (said.is_record("error", 1) || said.is_record("rejected", 1)) return error(said.at(0));
    return error(preserves::symbol("invalid-path-step-result"));
}

class StepObserver final : public Entity {
  public:
    StepObserver(CapRef config, Value request)
        : config_(std::move(config)), request_(std::move(request)) {}
    void on_assert(Turn& turn, const Value& said, Handle handle) override {
        answers_[handle] = turn.assert_(config_, answer(request_, step_result(said)));
    }
    void on_retract(Turn& turn, Handle handle) override {
        auto found = answers_.find(handle);
        if (found == answers_.end()) return;
        turn.retract(found->second);
        answers_.erase(found);
    }

  private:
    CapRef config_;
    Value request_;
    std::unordered_map<Handle, Handle> answers_; // theirs to ours
};

// ---- Paths -----------------------------------------------------------------------------------

class Path final : public Counted {
  public:
    Path(CapRef config, View request) : config_(std::move(config)), request_(request) {}

    void start(Turn& turn) {
        Ref<Path> self(this);
        for (View transport : request_.view().at(0).at(0).items()) {
            Value request = preserves::record("connect-transport", {transport});
            auto link = std::make_shared<Handle>(0);
            observe(
                turn, config_, answers_to("connect-transport", pat::discard()),
                [self, request, link](Turn& inner, View seen) {
                    View up = seen.at(1).at(0);
                    if (!(seen.at(0) == request.view()) || !seen.at(1).is_record("ok", 1)) return;
                    if (!up.is_record("connected-transport", 3) || !cap_of(up.at(2))) return;
                    *link = ++self->last_;
                    self->links_.emplace(*link, Value(up));
                    self->decide(inner);
                },
                [self, request, link](Turn& inner, View seen) {
                    if (!(seen.at(0) == request.view())) return;
                    self->links_.erase(std::exchange(*link, 0));
                    self->decide(inner);
                });
            turn.assert_(config_, question(request));
        }
        outer_ = Ref<Facet>(&turn.current());
        turn.on_stop([self](Turn&) { self->outer_ = self->inner_ = nullptr; });
    }

  private:
    // Follows the steps over the link that was there first, as long as it is.
    void decide(Turn& turn) {
        if (links_.count(chosen_)) return;
        if (inner_) turn.stop(*inner_);
        inner_ = nullptr;
        chosen_ = links_.empty() ? 0 : links_.begin()->first;
        if (!chosen_ || !outer_) return;
        Value link = links_.begin()->second;
        turn.in(*outer_, [&](Turn& outer) {
            inner_ =
                outer.facet([&](Turn& inner) { follow(inner, link, Value(link.view().at(2)), 1); });
        });
    }

    // `index` of the step in the route, whose first field are the transports.
    void follow(Turn& turn, const Value& link, const Value& origin, size_t index) {
        View step = request_.view().at(0).at(index);
        if (!step.valid()) {
            Value resolved =
                preserves::record("resolved-path", {link.view().at(0), link.view().at(1), origin});
            turn.assert_(config_, answer(request_, ok(resolved)));
            return;
        }
        Value request = preserves::record("resolve-path-step", {origin, step});
        during(turn, config_, answers_to("resolve-path-step", pat::literal(origin)),
               [self = Ref<Path>(this), request, link, index](Turn& inner, View seen) {
                   if (!(seen.at(0) == request.view())) return;
                   View result = seen.at(1);
                   if (result.is_record("ok", 1) && result.at(0).is(Kind::embedded))
                       self->follow(inner, link, Value(result.at(0)), index + 1);
                   else
                       inner.assert_(self->config_, answer(self->request_, step_result(result)));
               });
        turn.assert_(config_, question(request));
    }

    CapRef config_;
    Value request_; // <resolve-path <route [TRANSPORT…] STEP…>>
    std::map<uint64_t, Value> links_;
    uint64_t last_ = 0;
    uint64_t chosen_ = 0;
    Ref<Facet> outer_;
    Ref<Facet> inner_;
};

} // namespace

void serve_connectors(Turn& turn, EventLoop& loop, const CapRef& config, Report report) {
    auto asked = [](std::string_view label, std::initializer_list<View> fields) {
        return pat::record("q", {pat::bind(pat::record(label, fields))});
    };
    for (const char* kind : {"unix", "tcp"}) {
        Value address = pat::record(kind, {pat::discard()});
        during(turn, config, asked("connect-transport", {address}),
               [&loop, config, report](Turn& inner, View seen) {
                   make_ref<Link>(loop, inner.engine(), config, Value(seen.at(0)), report)
                       ->start(inner);
               });
    }
    Value reference = pat::record("ref", {pat::discard()});
    during(turn, config, asked("resolve-path-step", {pat::discard(), reference}),
           [config](Turn& inner, View seen) {
               CapRef origin = cap_of(seen.at(0).at(0));
               if (!origin) return;
               CapRef observer = inner.make_cap(make_ref<StepObserver>(config, Value(seen.at(0))));
               inner.assert_(origin,
                             preserves::record("resolve", {seen.at(0).at(1), embed(observer)}));
           });
    Value route = pat::record("route", {pat::discard()});
    during(turn, config, asked("resolve-path", {route}), [config](Turn& inner, View seen) {
        if (seen.at(0).at(0).at(0).is(Kind::sequence))
            make_ref<Path>(config, seen.at(0))->start(inner);
    });
}

} // namespace muster::protocol
