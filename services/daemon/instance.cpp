#include "services/daemon/instance.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "init/preserves/encoder.h"
#include "init/preserves/text_writer.h"
#include "services/daemon/daemon.h"
#include "services/daemon/own_state.h"

namespace muster::services {

namespace {

// What a service that does not read its input may leave waiting before its channel is closed.
constexpr size_t max_unsent = 16 * 1024 * 1024; // bytes

struct Pipe {
    Fd read;
    Fd write;
};

Result<Pipe> make_pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0) return system_error("pipe", errno);
    return Pipe{Fd(ends[0]), Fd(ends[1])};
}

std::string seconds_text(uint64_t nanoseconds) {
    uint64_t tenths = (nanoseconds + 50 * millisecond) / (100 * millisecond);
    std::string text = std::to_string(tenths / 10);
    if (tenths % 10 != 0) text += "." + std::to_string(tenths % 10);
    return text + " s";
}

// {config: #:… machine: #:… status: #:…} and what the specification grants besides or instead.
Value first_dictionary(const CapRef& config, const Context& context, View grant) {
    preserves::Encoder out;
    out.begin_dictionary();
    auto offer = [&](std::string_view name, const CapRef& cap) {
        if (!cap || (grant.valid() && grant.get(name).valid())) return;
        out.symbol(name);
        out.embedded(cap);
    };
    offer("config", config);
    offer("machine", context.machine);
    offer("status", context.status);
    if (grant.valid())
        for (View item : grant.items())
            out.value(item);
    out.end();
    return *out.finish();
}

} // namespace

struct Instance::Ends {
    std::vector<Fd> child; // closed here when the process has them
    Fd input, output;      // of the protocol
    Fd notify;
};

Instance::Instance(Daemon& owner, Value spec)
    : owner_(owner), spec_(std::move(spec)), parsed_(parse_spec(spec_)),
      next_delay_(owner.context().timing.first_delay) {}

Instance::~Instance() {
    dying_ = true; // closing the channel must not bring us back to life
    channel_ = protocol::Connection();
    successor_ready();
    if (process_) process_->abandon();
}

bool Instance::failed() const {
    switch (phase_) {
    case Phase::backoff:
    case Phase::failed:
        return true;
    case Phase::ending:
        return outcome_ != Outcome::complete;
    default:
        return false;
    }
}

void Instance::say(Turn& turn, const std::string& line) {
    turn.message(owner_.context().log, log_record(owner_.service(), "supervisor", line, pid()));
}

void Instance::later(std::function<void(Instance&, Turn&)> action) {
    if (dying_) return;
    owner_.engine().external(owner_.facet(), [self = Ref<Instance>(this), run = run_,
                                              action = std::move(action)](Turn& turn) {
        if (self->run_ == run) action(*self, turn);
    });
}

// --- starting ---

void Instance::start(Turn& turn) {
    ++run_;
    outcome_ = Outcome::none;
    restarts_all_ = false;
    killed_ = false;
    over_ = false;
    if (!parsed_) {
        last_ = parsed_.error().message;
        phase_ = Phase::failed;
        say(turn, "wrong specification: " + last_);
        owner_.changed(turn);
        return;
    }
    if (!std::exchange(remarked_, true))
        for (const std::string& remark : parsed_->remarks)
            say(turn, remark);
    ++starts_;
    started_at_ = monotonic_now();
    if (auto launched = launch(turn); !launched) {
        last_ = launched.error().message;
        tree_gone_ = true;
        ended(turn, false);
    }
}

Result<> Instance::prepare(SpawnRequest& request, Ends& ends) {
    const DaemonSpec& spec = *parsed_;
    request.argv = spec.argv;
    request.environment = environment_of(spec, owner_.name());
    request.path = path_of(request.environment);
    request.directory = spec.dir;

    auto log_pipe = [&](const char* stream, int& child_end) -> Result<> {
        auto pipe = make_pipe();
        if (!pipe) return pipe.error();
        child_end = pipe->write.get();
        ends.child.push_back(std::move(pipe->write));
        return log_lines_->add(std::move(pipe->read), stream);
    };
    if (auto error = log_pipe("stderr", request.standard_error); !error) return error;
    if (spec.protocol == Protocol::none) {
        if (auto output = log_pipe("stdout", request.standard_output); !output) return output;
    } else {
        auto in = make_pipe();
        if (!in) return in.error();
        auto out = make_pipe();
        if (!out) return out.error();
        request.standard_input = in->read.get();
        request.standard_output = out->write.get();
        ends.child.push_back(std::move(in->read));
        ends.child.push_back(std::move(out->write));
        ends.input = std::move(out->read);
        ends.output = std::move(in->write);
    }
    if (spec.notify >= 0) {
        auto notify = make_pipe();
        if (!notify) return notify.error();
        request.extra = notify->write.get();
        request.extra_number = spec.notify;
        ends.child.push_back(std::move(notify->write));
        ends.notify = std::move(notify->read);
    }
    return {};
}

Result<> Instance::launch(Turn& turn) {
    const Context& context = owner_.context();
    log_lines_ = std::make_unique<LogLines>(owner_.engine(), context.loop, owner_.facet(),
                                            context.log, owner_.service(), owner_.name());
    SpawnRequest request;
    Ends ends;
    if (auto prepared = prepare(request, ends); !prepared) return prepared;
    auto text = owner_.id().view().as_text();
    std::string name = text ? std::string(*text) : preserves::to_text(owner_.id());
    auto started = context.processes.start(
        name, std::move(request),
        {[this](int status) {
             later([status](Instance& self, Turn& turn) { self.process_ended(turn, status); });
         },
         [this] {
             // All that it wrote comes before the news of its end.
             if (log_lines_) log_lines_->finish();
             later([](Instance& self, Turn& turn) { self.tree_gone(turn); });
         }});
    if (!started) return started.error();
    process_ = std::move(started->process);
    tree_gone_ = false;
    log_lines_->set_pid(process_->pid());
    if (!started->failure.empty()) {
        // Its end comes like any other, but what it means is known now.
        last_ = started->failure;
        ended(turn, false);
        return {};
    }
    phase_ = Phase::starting;
    turn.in(*owner_.facet(), [this](Turn& inner) {
        run_facet_ = inner.facet([](Turn&) {});
        run_keep_ = dataspace::KeepAlive(run_facet_);
    });
    if (ends.input) open_channel(turn, ends);
    if (ends.notify) watch_notify(std::move(ends.notify));
    if (parsed_->ready_on_start) became_ready(turn);
    owner_.changed(turn);
    return {};
}

void Instance::open_channel(Turn& turn, Ends& ends) {
    const Context& context = owner_.context();
    CapRef config;
    turn.in(*run_facet_, [&](Turn& inner) {
        config = inner.make_cap(make_ref<OwnState>(
            context.config, owner_.service(),
            [this](Turn& complaint, const std::string& line) { say(complaint, line); }));
    });
    protocol::RelayOptions options;
    options.name = owner_.name();
    options.text_output = parsed_->protocol == Protocol::text;
    options.max_unsent = max_unsent;
    options.linger = parsed_->linger > 0;
    options.on_peer = [first = first_dictionary(config, context, parsed_->grant),
                       service = owner_.service(),
                       space = context.config](Turn& peer_turn, const CapRef& peer) {
        peer_turn.assert_(peer, first);
        peer_turn.assert_(space,
                          preserves::record("service-object", {service, dataspace::embed(peer)}));
    };
    options.on_closed = [this](const std::string& reason) {
        channel_open_ = false;
        later([reason](Instance& self, Turn& inner) { self.channel_closed(inner, reason); });
    };
    channel_open_ = true;
    channel_ = protocol::Connection::start(owner_.engine(), context.loop, std::move(ends.input),
                                           std::move(ends.output), std::move(options));
}

void Instance::watch_notify(Fd fd) {
    ::fcntl(fd.get(), F_SETFL, O_NONBLOCK);
    notify_ = std::move(fd);
    auto watch = owner_.context().loop.watch(notify_.get(), EPOLLIN, [this](uint32_t) {
        char text[64];
        ssize_t size = ::read(notify_.get(), text, sizeof text);
        if (size < 0) return;
        bool line = std::find(text, text + size, '\n') != text + size;
        if (size > 0 && !line) return;
        notify_watch_.cancel();
        notify_.reset();
        if (line) later([](Instance& self, Turn& turn) { self.became_ready(turn); });
    });
    if (watch) notify_watch_ = std::move(*watch);
}

void Instance::became_ready(Turn& turn) {
    if (phase_ != Phase::starting) return;
    phase_ = Phase::running;
    ready_ = true;
    // One that is ready as soon as it runs has not yet asserted anything again.
    if (!parsed_->ready_on_start) successor_ready();
    owner_.changed(turn);
}

// --- its end ---

void Instance::process_ended(Turn& turn, int wait_status) {
    if (phase_ == Phase::ending) { // it could not be executed, which has been said
        if (!process_->gone()) process_->kill();
        return;
    }
    last_ = describe_wait_status(wait_status);
    if (phase_ == Phase::stopping) {
        if (killed_) last_ += ", as it did not stop in " + seconds_text(parsed_->stop_timeout);
        if (!process_->gone()) {
            // The rest gets its chance too, as long as the time is not over; without a cgroup
            // nobody would tell us that it has ended.
            if (process_->watched())
                process_->signal(SIGTERM);
            else
                process_->kill();
        }
        owner_.changed(turn);
        return;
    }
    ended(turn, wait_status == 0);
}

// The process has ended, or could not be started, not because we asked it to.
void Instance::ended(Turn& turn, bool success) {
    const Timing& timing = owner_.context().timing;
    switch (parsed_->restart) {
    case Restart::always:
        outcome_ = Outcome::backoff;
        break;
    case Restart::on_error:
    case Restart::all:
        outcome_ = success ? Outcome::complete : Outcome::backoff;
        break;
    case Restart::never:
        outcome_ = success ? Outcome::complete : Outcome::failed;
        break;
    }
    uint64_t now = monotonic_now();
    if (now - started_at_ >= timing.good_run) next_delay_ = timing.first_delay;
    if (outcome_ == Outcome::backoff) {
        next_start_ = std::max(started_at_ + next_delay_, now);
        delay_ = next_start_ - now;
        next_delay_ = std::min(next_delay_ * 2, timing.longest_delay);
        say(turn, last_ + "; next start in " + seconds_text(delay_));
    } else if (outcome_ == Outcome::failed) {
        say(turn, last_ + "; it is not started again");
    }
    ready_ = false;
    phase_ = outcome_ == Outcome::complete ? Phase::complete : Phase::ending;
    if (run_facet_) turn.stop(*run_facet_);
    notify_watch_.cancel();
    if (outcome_ == Outcome::backoff && parsed_->restart == Restart::all) {
        restarts_all_ = true;
        owner_.restart_others(turn, *this);
    }
    owner_.changed(turn);
    if (tree_gone_)
        run_is_over(turn);
    else if (phase_ == Phase::ending && process_ && !process_->running())
        process_->kill();
}

void Instance::tree_gone(Turn& turn) {
    tree_gone_ = true;
    if (!channel_open_) return run_is_over(turn);
    // What it said last is still on its way: the channel ends by itself.
    timer_ = owner_.context().loop.after(owner_.context().timing.channel_grace, [this] {
        later([](Instance& self, Turn& inner) {
            self.channel_ = protocol::Connection();
            self.run_is_over(inner);
        });
    });
}

void Instance::channel_closed(Turn& turn, const std::string& reason) {
    if (tree_gone_) return run_is_over(turn);
    // A peer that is just ending shows as the end of the file, or as a pipe nobody reads.
    if (reason.empty() || reason.starts_with("write: ") || reason.starts_with("read: ")) return;
    if (phase_ != Phase::starting && phase_ != Phase::running) return;
    last_ = "protocol: " + reason;
    ended(turn, false);
    process_->signal(parsed_->stop_signal);
    timer_ = owner_.context().loop.after(parsed_->stop_timeout, [this] { process_->kill(); });
}

// Nothing of the process is left, and what it said has been read.
void Instance::run_is_over(Turn& turn) {
    if (std::exchange(over_, true)) return;
    timer_.cancel();
    if (channel_ && phase_ == Phase::ending && outcome_ == Outcome::backoff && parsed_->linger > 0)
        linger(turn);
    channel_ = protocol::Connection();
    log_lines_.reset();
    notify_watch_.cancel();
    notify_.reset();
    process_ = nullptr;
    if (run_facet_) turn.stop(*run_facet_);
    run_facet_ = nullptr;
    run_keep_ = dataspace::KeepAlive();
    if (phase_ == Phase::stopping) {
        if (killed_) say(turn, last_);
        return idle_again(turn);
    }
    if (phase_ != Phase::ending) return; // complete
    if (outcome_ == Outcome::backoff) return back_off(turn);
    phase_ = Phase::failed;
    owner_.changed(turn);
}

void Instance::linger(Turn& turn) {
    lingering_ = std::move(channel_);
    linger_end_ = owner_.context().loop.after(parsed_->linger, [this] {
        lingering_ = protocol::Connection();
        owner_.engine().external(owner_.facet(), [self = Ref<Instance>(this)](Turn& inner) {
            self->owner_.changed(inner);
        });
    });
    owner_.changed(turn);
}

void Instance::back_off(Turn& turn) {
    phase_ = Phase::backoff;
    // Always by way of a timer: that it was down must be seen as a turn of its own.
    uint64_t now = monotonic_now();
    timer_ = owner_.context().loop.after(next_start_ > now ? next_start_ - now : 0, [this] {
        later([](Instance& self, Turn& inner) {
            if (self.phase_ == Phase::backoff) self.idle_again(inner);
        });
    });
    owner_.changed(turn);
}

void Instance::idle_again(Turn& turn) {
    ++run_;
    phase_ = Phase::idle;
    timer_.cancel();
    if (retired_) return owner_.instance_gone(turn, *this);
    owner_.instance_idle(turn);
}

// --- being stopped ---

void Instance::retire(Turn& turn) {
    if (std::exchange(retired_, true)) return;
    stop(turn);
}

void Instance::reset(Turn& turn) {
    next_delay_ = owner_.context().timing.first_delay;
    stop(turn);
}

void Instance::stop(Turn& turn) {
    ready_ = false;
    successor_ready(); // there will be none
    switch (phase_) {
    case Phase::stopping:
        return;
    case Phase::idle:
    case Phase::backoff:
    case Phase::failed:
        return idle_again(turn);
    case Phase::complete:
        if (!process_) return idle_again(turn);
        break;
    case Phase::ending: // already being killed
        phase_ = Phase::stopping;
        owner_.changed(turn);
        return;
    case Phase::starting:
    case Phase::running:
        break;
    }
    phase_ = Phase::stopping;
    if (run_facet_) turn.stop(*run_facet_);
    notify_watch_.cancel();
    // Nobody tells us when a leftover ends that is in no cgroup.
    bool told = process_->running() || process_->watched();
    uint64_t grace = told ? parsed_->stop_timeout : std::min(parsed_->stop_timeout, second);
    process_->signal(parsed_->stop_signal);
    timer_ = owner_.context().loop.after(grace, [this] {
        killed_ = process_->running();
        process_->kill();
    });
    owner_.changed(turn);
}

} // namespace muster::services
