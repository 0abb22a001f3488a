#include "services/daemon/instance.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "init/base/seconds_text.h"
#include "init/preserves/encoder.h"
#include "init/preserves/text_writer.h"
#include "services/daemon/daemon.h"
#include "services/daemon/own_state.h"

namespace muster::services {

namespace {

// What a service that does not read its input may leave waiting before its channel is closed.
constexpr size_t max_unsent = 16 * 1024 * 1024; // bytes

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

Instance::Instance(Daemon& owner, Value spec)
    : owner_(owner), spec_(std::move(spec)), parsed_(parse_spec(spec_)),
      next_delay_(first_delay()) {}

Instance::~Instance() {
    dying_ = true; // closing the channel must not bring us back to life
    channel_ = protocol::Connection();
    successor_ready();
    liveness_.reset();
    commands_.reset();
    end_resume();
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
    owner_.context().gathering->add(owner_.facet(), [self = Ref<Instance>(this), run = run_,
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
    main_over_ = false;
    main_status_.reset();
    if (!parsed_) {
        last_ = parsed_.error().message;
        phase_ = Phase::failed;
        failed_by({});
        say(turn, "wrong specification: " + last_);
        owner_.changed(turn);
        return;
    }
    ++starts_;
    started_at_ = monotonic_now();
    if (auto begun = begin(turn); !begun) could_not_start(turn, begun.error());
}

Result<> Instance::prepare(Ends& ends) {
    const DaemonSpec& spec = *parsed_;
    SpawnRequest& request = ends.program.request;
    if (auto output = prepare_output(ends); !output) return output;
    if (spec.protocol != Protocol::none) {
        auto in = make_pipe();
        if (!in) return in.error();
        auto out = make_pipe();
        if (!out) return out.error();
        request.standard_input = in->read.get();
        request.standard_output = out->write.get();
        ends.program.child.push_back(std::move(in->read));
        ends.program.child.push_back(std::move(out->write));
        ends.input = std::move(out->read);
        ends.output = std::move(in->write);
        if (spec.resume) {
            ends.keep(KeptRole::channel_input, ends.input.get());
            ends.keep(KeptRole::channel_output, ends.output.get());
        }
    }
    if (spec.notify >= 0) {
        auto notify = make_pipe();
        if (!notify) return notify.error();
        request.handed.push_back({notify->write.get(), spec.notify});
        ends.program.child.push_back(std::move(notify->write));
        ends.notify = std::move(notify->read);
        ends.keep(KeptRole::notify, ends.notify.get());
    }
    std::vector<std::string> environment;
    if (liveness_)
        if (auto opened = liveness_->open(environment, request.pid_variables); !opened)
            return opened;
    if (liveness_ && liveness_->socket().fd() >= 0)
        ends.keep(KeptRole::notify_socket, liveness_->socket().fd());
    if (!sockets_.empty()) {
        std::string names;
        for (size_t i = 0; i < sockets_.size(); ++i) {
            request.handed.push_back({sockets_[i]->fd(), 3 + static_cast<int>(i)});
            names += (i > 0 ? ":" : "") + sockets_[i]->name();
        }
        environment.push_back("LISTEN_FDS=" + std::to_string(sockets_.size()));
        environment.push_back("LISTEN_FDNAMES=" + names);
        request.pid_variables.push_back("LISTEN_PID");
    }
    auto prepared = prepare_program(ends.program, owner_.context().processes, spec, owner_.name(),
                                    spec.argv, true, environment);
    if (ends.program.report) ends.keep(KeptRole::report, ends.program.report.get());
    return prepared;
}

Result<> Instance::launch(Turn& turn) {
    const Context& context = owner_.context();
    log_lines_ =
        std::make_unique<LogLines>(owner_.engine(), context.loop, owner_.facet(), context.log,
                                   owner_.service(), owner_.name(), context.journal, parsed_->log);
    if (auto registered = register_run(); !registered) return registered;
    if (entry_) entry_.set_note(Ledger::NoteKind::lines, {});
    log_lines_->remember_in(entry_);
    Ends ends;
    if (auto prepared = prepare(ends); !prepared) return prepared;
    auto started = context.processes.start(
        commands_owner().cgroup, std::move(ends.program.request), process_events(false),
        {[this](SlotRef slot) { claimed(slot); }, std::move(ends.kept)}, true);
    if (!started) return started.error();
    for (const std::string& remark : started->remarks)
        say(turn, remark);
    process_ = std::move(started->process);
    last_pid_ = process_->pid();
    if (entry_) entry_->main_pid = last_pid_; // claimed() has said that it is its own
    tree_gone_ = false;
    log_lines_->set_pid(process_->pid());
    if (!started->failure.message.empty()) {
        not_executed(turn, started->failure);
        return {};
    }
    phase_ = Phase::starting;
    turn.in(*owner_.facet(), [this](Turn& inner) {
        run_facet_ = inner.facet([](Turn&) {});
        run_keep_ = dataspace::KeepAlive(run_facet_);
    });
    if (ends.input) open_channel(turn, std::move(ends.input), std::move(ends.output), false);
    if (ends.notify) watch_notify(std::move(ends.notify));
    if (liveness_) liveness_->started(process_->pid());
    if (ends.program.report) watch_report(std::move(ends.program.report));
    if (!started->under_way) {
        executed(turn);
    } else {
        // Others of this turn are started meanwhile.
        turn.before_commit(
            [self = Ref<Instance>(this), process = process_, run = run_](Turn& last) {
                Error failure = process->settle();
                if (self->run_ != run || self->phase_ != Phase::starting) return;
                last.in(*self->owner_.facet(), [&](Turn& inner) {
                    if (failure.message.empty()) return self->executed(inner);
                    self->not_executed(inner, failure);
                });
            });
    }
    owner_.changed(turn);
    return {};
}

void Instance::executed(Turn& turn) {
    if (!report_ && parsed_->ready_on_start) became_ready(turn);
}

// Its end comes like any other, but what it means is known now.
void Instance::not_executed(Turn& turn, const Error& why) {
    last_ = why.message;
    failed_by({});
    ended(turn, false, why.exhausted());
}

void Instance::open_channel(Turn& turn, Fd input, Fd output, bool resumed) {
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
                       service = owner_.service(), space = context.config, resumed,
                       this](Turn& peer_turn, const CapRef& peer) {
        peer_turn.assert_(peer, first);
        peer_turn.assert_(space,
                          preserves::record("service-object", {service, dataspace::embed(peer)}));
        // It has said everything anew when it answers.
        if (resumed)
            peer_turn.sync(peer, [self = Ref<Instance>(this)](Turn&) { self->resuming_.reset(); });
    };
    if (resumed) options.resume = context.adoption->epoch();
    options.on_closed = [this](const std::string& reason) {
        channel_open_ = false;
        resuming_.reset();
        later([reason](Instance& self, Turn& inner) { self.channel_closed(inner, reason); });
    };
    channel_open_ = true;
    channel_ = protocol::Connection::start(owner_.engine(), context.loop, std::move(input),
                                           std::move(output), std::move(options));
}

void Instance::watch_notify(Fd fd) {
    ::fcntl(fd.get(), F_SETFL, O_NONBLOCK);
    notify_ = std::move(fd);
    auto watch = owner_.context().loop.watch(notify_.get(), EPOLLIN, [this](uint32_t) {
        note_notifying(true);
        char text[64];
        ssize_t size = ::read(notify_.get(), text, sizeof text);
        if (size < 0) {
            note_notifying(false);
            return;
        }
        bool line = std::find(text, text + size, '\n') != text + size;
        if (!line) note_notifying(false);
        if (size > 0 && !line) return;
        notify_watch_.cancel();
        notify_.reset();
        if (line) later([](Instance& self, Turn& turn) { self.became_ready(turn); });
    });
    if (watch) notify_watch_ = std::move(*watch);
}

// --- its end ---

void Instance::tell_exited(Turn& turn, int wait_status) {
    wait_status_ = wait_status;
    turn.message(owner_.context().config,
                 preserves::record("exited", {owner_.service(), preserves::integer(wait_status)}));
}

void Instance::process_ended(Turn& turn, int wait_status) {
    if (phase_ == Phase::ending || phase_ == Phase::complete) { // why has been said
        if (wait_status_ == -1) tell_exited(turn, wait_status); // else its main process counts
        if (!process_->gone() && !main_is_due()) end_rest();
        return;
    }
    // What it wrote comes before the news of its end.
    if (log_lines_) log_lines_->drain(turn);
    if (liveness_) liveness_->hear();
    // It has made another one the one that counts, whose end is watched too.
    if (liveness_ && liveness_->main_pid() != 0) {
        if (phase_ == Phase::stopping) {
            if (!main_over_) wait_status_ = wait_status;
            if (!process_->gone()) end_rest_in_stop();
        }
        return owner_.changed(turn);
    }
    tell_exited(turn, wait_status);
    Failure failure = failure_of(wait_status, process_->out_of_memory());
    Error unexecuted = take_report();
    last_ = unexecuted.message;
    if (last_.empty()) last_ = describe_wait_status(wait_status);
    if (process_->out_of_memory()) last_ += " (out of memory)";
    if (phase_ == Phase::stopping) {
        ended_in_stop(std::move(failure));
        if (!process_->gone()) end_rest_in_stop();
        owner_.changed(turn);
        return;
    }
    if (!unexecuted.message.empty()) return not_executed(turn, unexecuted);
    bool success = parsed_->is_success(wait_status);
    if (!success) failed_by(std::move(failure));
    ended(turn, success);
}

// `last_` says how.
void Instance::failed_by(Failure failure) {
    failure.how = last_;
    failure.time_us = logs::realtime_us();
    failure.count = failure_ ? failure_->count + 1 : 1;
    if (log_lines_) failure.lines = log_lines_->last_lines();
    failure_ = std::make_unique<Failure>(std::move(failure));
}

// The process has ended, or could not be started, not because we asked it to.
// `exhausted`: the system had no more of something, which says nothing about the service.
void Instance::ended(Turn& turn, bool success, bool exhausted) {
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
        outcome_ = success ? Outcome::complete : exhausted ? Outcome::backoff : Outcome::failed;
        break;
    }
    uint64_t now = monotonic_now();
    if (now - started_at_ >= timing.good_run) next_delay_ = first_delay();
    if (exhausted && !start_times_.empty()) start_times_.pop_back(); // it does not count
    if (outcome_ == Outcome::backoff && limit_reached()) {
        outcome_ = Outcome::failed;
        last_ += "; given up after " + std::to_string(start_times_.size()) + " starts in " +
                 seconds_text(parsed_->more().restart_within);
    }
    if (outcome_ == Outcome::backoff) {
        next_start_ = std::max(started_at_ + next_delay_, now);
        delay_ = next_start_ - now;
        next_delay_ = std::min(next_delay_ * 2, longest_delay());
        std::string often;
        if (!success && failure_) {
            failure_->next_us = failure_->time_us + delay_ / 1000;
            if (failure_->count > 1) often = " (failure " + std::to_string(failure_->count) + ")";
        }
        say(turn, last_ + "; next start in " + seconds_text(delay_) + often);
    } else if (outcome_ == Outcome::failed) {
        say(turn, last_ + "; it is not started again");
    }
    ready_ = false;
    phase_ = outcome_ == Outcome::complete ? Phase::complete : Phase::ending;
    if (run_facet_) turn.stop(*run_facet_);
    notify_watch_.cancel();
    if (liveness_) liveness_->end();
    end_commands();
    before_ = 0;
    if (outcome_ == Outcome::backoff && parsed_->restart == Restart::all && !exhausted) {
        restarts_all_ = true;
        owner_.restart_others(turn, *this);
    }
    owner_.changed(turn);
    if (tree_gone_)
        run_is_over(turn);
    else if (phase_ == Phase::ending && process_ && !process_->running() && !main_is_due())
        end_rest();
}

void Instance::tree_gone(Turn& turn) {
    tree_gone_ = true;
    if (phase_ == Phase::starting || phase_ == Phase::running) { // one with another main process
        if (liveness_ && liveness_->await_main()) return;
        last_ = "its main process has ended";
        return ended(turn, false);
    }
    bool told = phase_ == Phase::stopping || phase_ == Phase::ending;
    if (told && !main_over_ && liveness_ && liveness_->await_main()) return;
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
    give_up_on(turn, "protocol: " + reason, parsed_->stop_signal);
}

// Nothing of the process is left, and what it said has been read.
void Instance::run_is_over(Turn& turn) {
    if (std::exchange(over_, true)) return;
    timer_.cancel();
    resuming_.reset();
    if (channel_ && phase_ == Phase::ending && outcome_ == Outcome::backoff && parsed_->linger > 0)
        linger(turn);
    channel_ = protocol::Connection();
    log_lines_.reset();
    notify_watch_.cancel();
    notify_.reset();
    report_watch_.cancel();
    report_.reset();
    reported_.reset();
    liveness_.reset();
    process_ = nullptr;
    if (run_facet_) turn.stop(*run_facet_);
    run_facet_ = nullptr;
    run_keep_ = dataspace::KeepAlive();
    if (phase_ == Phase::stopping && killed_) say(turn, last_);
    if (phase_ == Phase::complete) return;
    if (!clean_up(turn)) after_run(turn);
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
    next_delay_ = first_delay();
    start_times_.clear();
    down_counts_ = false;
    stop(turn);
}

void Instance::stop(Turn& turn) {
    ready_ = false;
    successor_ready(); // there will be none
    if (phase_ == Phase::stopping) return;
    stop_began_ = monotonic_now();
    stop_limit_ = 0;
    switch (phase_) {
    case Phase::stopping:
    case Phase::idle:
        if (std::exchange(before_, 0) == 0) return idle_again(turn);
        phase_ = Phase::stopping;
        if (!clean_up(turn)) idle_again(turn);
        return;
    case Phase::backoff:
    case Phase::failed:
        return idle_again(turn);
    case Phase::complete:
        if (process_) break;
        phase_ = Phase::stopping;
        if (!clean_up(turn)) idle_again(turn);
        return;
    case Phase::ending: // already being killed
        phase_ = Phase::stopping;
        owner_.changed(turn);
        return;
    case Phase::starting:
    case Phase::running:
        break;
    }
    phase_ = Phase::stopping;
    before_ = 0;
    if (liveness_) liveness_->stop_begins();
    end_commands();
    if (!process_) { // not yet
        if (!clean_up(turn)) idle_again(turn);
        return;
    }
    if (run_facet_) turn.stop(*run_facet_);
    notify_watch_.cancel();
    // Nobody tells us when a leftover ends that is in no cgroup.
    bool told = process_->running() || process_->watched();
    uint64_t grace = told ? parsed_->stop_timeout : std::min(parsed_->stop_timeout, second);
    remember_stop(grace);
    send_signal(parsed_->stop_signal);
    remember_signalled();
    kill_after(grace);
    owner_.changed(turn);
}

void Instance::kill_after(uint64_t grace) {
    stop_limit_ = monotonic_now() - stop_began_ + grace;
    timer_ = owner_.context().loop.after(grace, [this] {
        killed_ = process_->running() || main_is_due();
        process_->kill();
    });
}

// It asked for so long from now (EXTEND_TIMEOUT_USEC), which never makes it less.
void Instance::stop_may_take(Turn& turn, uint64_t time) {
    if (phase_ != Phase::stopping || !process_ || process_->gone()) return;
    if (monotonic_now() - stop_began_ + time <= stop_limit_) return;
    remember_stop(time);
    kill_after(time);
    owner_.changed(turn);
}

} // namespace muster::services
