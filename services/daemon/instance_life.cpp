// What an instance does around its process: commands before and after, readiness and health, limits
// (instance.h).
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>

#include "init/base/seconds_text.h"
#include "init/preserves/text_writer.h"
#include "services/daemon/daemon.h"

namespace muster::services {

Commands::Owner Instance::commands_owner() const {
    auto text = owner_.id().view().as_text();
    std::string group = text ? std::string(*text) : preserves::to_text(owner_.id());
    return {owner_.context(), owner_.engine(), owner_.facet(),
            owner_.service(), owner_.name(),   std::move(group)};
}

pid_t Instance::pid() const {
    if (liveness_ && liveness_->main_pid() != 0) return liveness_->main_pid();
    return process_ && process_->running() ? process_->pid() : 0;
}

uint64_t Instance::first_delay() const {
    uint64_t own = parsed_ ? parsed_->more().restart_delay : 0;
    return own > 0 ? own : owner_.context().timing.first_delay;
}

uint64_t Instance::longest_delay() const {
    uint64_t own = parsed_ ? parsed_->more().restart_delay_max : 0;
    return std::max(own > 0 ? own : owner_.context().timing.longest_delay, first_delay());
}

// --- before the process ---

Result<> Instance::begin(Turn& turn) {
    const Context& context = owner_.context();
    wait_status_ = -1;
    last_pid_ = 0;
    tree_gone_ = true; // nothing is there yet
    if (!parsed_->more().s6.empty()) {
        if (auto read = reread_s6(); !read) return read;
        if (s6_->down && down_counts_) {
            last_ = s6_->path + "/down is there: it is not started by itself";
            phase_ = Phase::failed;
            owner_.changed(turn);
            return {};
        }
    }
    const RareFields& rare = parsed_->more();
    uint64_t now = monotonic_now();
    std::erase_if(start_times_, [&](uint64_t time) { return now - time > rare.restart_within; });
    if (rare.restart_starts > 0) start_times_.push_back(now);
    if (rare.listen.valid()) {
        auto sockets = context.sockets->open_all(rare.listen);
        if (!sockets) return sockets.error();
        sockets_ = std::move(*sockets);
    }
    make_liveness();
    if (before_ >= rare.start_pre.size()) return launch(turn);
    if (auto registered = register_run(); !registered) return registered;
    phase_ = Phase::starting;
    remember();
    run_before(turn);
    return {};
}

void Instance::run_before(Turn& turn) {
    run_commands("startPre", parsed_->more().start_pre, {}, 0, [this](const Error& failure, int) {
        later([failure](Instance& self, Turn& inner) { self.begun_before(inner, failure); });
    });
    owner_.changed(turn);
}

// Where they were, if a second stage before us had begun them.
void Instance::run_commands(std::string what, std::vector<Command> commands,
                            std::vector<std::string> environment, uint64_t limit,
                            Commands::Done done) {
    bool resumed = resumes(what);
    bool before = what == "startPre";
    CommandPlace from{what, before ? before_ : 0, {}, {}};
    Ref<Process> process;
    if (resumed) {
        from = std::move(resume_->place);
        process = std::move(resume_->process);
        resume_.reset();
    }
    // What comes after the end goes on; of a start, only what runs already.
    if (owner_.context().ending && (before || what == "startPost"))
        commands.resize(std::min(commands.size(), from.at + (process ? 1 : 0)));
    commands_ =
        std::make_unique<Commands>(commands_owner(), *parsed_, std::move(what), std::move(commands),
                                   std::move(environment), limit, std::move(done));
    if (entry_)
        commands_->keep([this](const CommandPlace& place) {
            place_ = std::make_unique<CommandPlace>(place);
            carry();
        });
    // Whatever the system is short of, what runs is not ended for it, and what is to be cleaned up
    // is.
    if (!before) commands_->set_patient();
    if (!resumed && from.at == 0) return commands_->start();
    commands_->resume(from, std::move(process));
}

void Instance::end_commands() {
    commands_.reset();
    place_.reset();
}

Result<> Instance::reread_s6() {
    auto fresh = parse_spec(spec_); // what the folder said before no longer counts
    if (!fresh) return fresh.error();
    auto folder = read_s6_folder(fresh->more().s6, *fresh);
    if (!folder) return folder.error();
    parsed_ = std::move(fresh);
    s6_ = std::make_unique<S6Folder>(std::move(*folder));
    return {};
}

void Instance::begun_before(Turn& turn, const Error& failure) {
    if (phase_ != Phase::starting) return;
    end_commands();
    if (!failure.message.empty()) return could_not_start(turn, failure);
    before_ = parsed_->more().start_pre.size();
    if (unconfirmed_ ||
        owner_.context().ending) { // not before the configuration has it, nor at the end
        if (starts_ > 0) --starts_;
        if (!start_times_.empty()) start_times_.pop_back();
        liveness_.reset();
        return idle_again(turn);
    }
    if (auto launched = launch(turn); !launched) could_not_start(turn, launched.error());
}

void Instance::could_not_start(Turn& turn, const Error& why) {
    last_ = why.message;
    failed_by({});
    tree_gone_ = true;
    ended(turn, false, why.exhausted());
}

// stdout, as far as no protocol has it, and stderr.
Result<> Instance::prepare_output(Ends& ends) {
    const RareFields& rare = parsed_->more();
    SpawnRequest& request = ends.program.request;
    auto log = [&](const char* stream, KeptRole role, int& child_end) -> Result<> {
        auto pipe = make_pipe();
        if (!pipe) return pipe.error();
        child_end = pipe->write.get();
        ends.program.child.push_back(std::move(pipe->write));
        ends.keep(role, pipe->read.get());
        return log_lines_->add(std::move(pipe->read), stream);
    };
    if (rare.tty) return {};
    bool output = parsed_->protocol == Protocol::none;
    if (output && s6_ && s6_->logger && rare.standard_output == Output::log) {
        if (!logger_ || !logger_->whole()) {
            auto pipe = make_pipe();
            if (!pipe) return pipe.error();
            if (logger_) // its finish goes on
                logger_->renew(std::move(*pipe));
            else
                logger_ = make_logger(std::move(*pipe));
        }
        logger_->start();
        request.standard_output = logger_->input();
        ends.keep(KeptRole::logger_read, logger_->pipe().read.get());
        ends.keep(KeptRole::logger_write, logger_->pipe().write.get());
    } else if (output && rare.standard_output == Output::log) {
        if (auto logged = log("stdout", KeptRole::standard_output, request.standard_output);
            !logged)
            return logged;
    }
    if (rare.standard_error == Output::standard_output)
        request.standard_error = request.standard_output;
    else if (rare.standard_error == Output::log)
        return log("stderr", KeptRole::standard_error, request.standard_error);
    return {};
}

// What a process that was adopted had beside it (remembering.cpp).
void Instance::adopt_company(Turn& turn) {
    auto take = [this](KeptRole role) { return process_->take_kept(static_cast<uint8_t>(role)); };
    last_pid_ = process_->pid() != 0 ? process_->pid() : entry_->main_pid;
    if (!parsed_->more().s6.empty()) {
        if (auto read = reread_s6(); !read) say(turn, read.error().message);
        PipeEnds pipe{take(KeptRole::logger_read), take(KeptRole::logger_write)};
        if (s6_) adopt_logger(std::move(pipe));
    }
    Fd report = take(KeptRole::report);
    Fd socket = take(KeptRole::notify_socket);
    auto adopt_main = [this] {
        if (entry_->main_started != 0)
            liveness_->adopt_main(entry_->main_pid, entry_->main_started,
                                  resume_ ? std::exchange(resume_->main, nullptr) : nullptr);
    };
    if ((phase_ == Phase::stopping || phase_ == Phase::ending) && socket) {
        make_liveness();
        liveness_->adopt(std::move(socket));
        adopt_main();
        liveness_->started(process_->pid());
        if (phase_ == Phase::stopping)
            liveness_->stop_begins(); // it may still say something
        else
            liveness_->end();
    }
    if (phase_ != Phase::starting && phase_ != Phase::running) return;
    make_liveness();
    if (liveness_) {
        if (resume_) liveness_->adopt_status(std::move(resume_->says), resume_->reloading);
        bool heard = socket && entry_.word().notifying;
        liveness_->adopt(std::move(socket));
        liveness_->adopt_watchdog(entry_->watchdog_ms * millisecond);
        adopt_main();
        liveness_->started(process_->pid());
        if (phase_ == Phase::running) liveness_->became_ready();
        if (heard) became_ready(turn);
    }
    if (report && phase_ == Phase::starting) watch_report(std::move(report));
}

// --- starting and running ---

void Instance::make_liveness() {
    const RareFields& rare = parsed_->more();
    liveness_.reset();
    bool probes = !rare.health.argv.empty();
    if (rare.start_timeout == 0 && !rare.notify_socket && !probes) return;
    bool by_probe =
        probes && !parsed_->ready_on_start && parsed_->notify < 0 && !rare.notify_socket;
    Liveness::Events events;
    events.ready = [this] { later([](Instance& self, Turn& turn) { self.became_ready(turn); }); };
    events.failed = [this](std::string why, int signal) {
        later([why = std::move(why), signal](Instance& self, Turn& turn) {
            self.give_up_on(turn, why, signal);
        });
    };
    events.main_exited = [this](int wait_status, bool out_of_memory) {
        if (wait_status != -1) main_status_ = wait_status;
        carry(); // init forgets it now
        later([wait_status, out_of_memory](Instance& self, Turn& turn) {
            self.main_exited(turn, wait_status, out_of_memory);
        });
    };
    events.changed = [this] {
        later([](Instance& self, Turn& turn) { self.owner_.changed(turn); });
    };
    events.heard = [this](bool ready) { note_heard(ready); };
    events.say = [this](std::string line) {
        later([line = std::move(line)](Instance& self, Turn& turn) { self.say(turn, line); });
    };
    events.owns = [this](pid_t pid) { return process_ && process_->has(pid); };
    events.more_time = [this](uint64_t time) {
        later([time](Instance& self, Turn& turn) { self.stop_may_take(turn, time); });
    };
    liveness_ = std::make_unique<Liveness>(commands_owner(), *parsed_, by_probe, std::move(events));
    liveness_->begin();
}

void Instance::watch_report(Fd fd) {
    report_ = std::move(fd);
    auto watch = owner_.context().loop.watch(report_.get(), EPOLLIN, [this](uint32_t) {
        auto said = read_report(report_.get());
        if (!said) return;
        report_watch_.cancel();
        report_.reset();
        reported_ = std::make_unique<Error>(*std::move(said));
        later([](Instance& self, Turn& turn) {
            Error why = self.take_report();
            if (self.phase_ != Phase::starting) return;
            if (!why.message.empty()) return self.not_executed(turn, why);
            if (self.parsed_->ready_on_start) self.became_ready(turn);
        });
    });
    if (watch) report_watch_ = std::move(*watch);
}

// Why it was not executed, if that is still unread.
Error Instance::take_report() {
    if (auto reported = std::move(reported_)) return *reported;
    if (!report_) return {};
    Error why = read_report(report_.get()).value_or(Error{});
    report_watch_.cancel();
    report_.reset();
    return why;
}

void Instance::became_ready(Turn& turn) {
    if (phase_ != Phase::starting || commands_) return;
    const std::vector<Command>& after = parsed_->more().start_post;
    if (after.empty()) return now_ready(turn);
    run_commands("startPost", after, {"MAINPID=" + std::to_string(pid())}, 0,
                 [this](const Error& failure, int) {
                     later([failure](Instance& self, Turn& inner) {
                         self.end_commands();
                         if (failure.message.empty())
                             self.now_ready(inner);
                         else
                             self.give_up_on(inner, failure.message, self.parsed_->stop_signal);
                     });
                 });
}

void Instance::now_ready(Turn& turn) {
    if (phase_ != Phase::starting) return;
    phase_ = Phase::running;
    ready_ = true;
    if (liveness_) liveness_->became_ready();
    // One that is ready as soon as it runs has not yet asserted anything again.
    if (!parsed_->ready_on_start) successor_ready();
    owner_.changed(turn);
}

// --- its end ---

// It runs, or is about to, but not as it should: an end with failure that we bring about.
void Instance::give_up_on(Turn& turn, const std::string& why, int signal) {
    if (phase_ != Phase::starting && phase_ != Phase::running) return;
    if (!process_) {
        end_commands();
        return could_not_start(turn, Error{why});
    }
    last_ = why;
    Failure failure;
    failure.kind =
        why.starts_with("protocol: ") ? Failure::Kind::protocol : Failure::Kind::not_well;
    failed_by(std::move(failure));
    ended(turn, false);
    end_tree(signal);
}

// The process that it had named as its main one, which is no child of ours.
void Instance::main_exited(Turn& turn, int wait_status, bool out_of_memory) {
    main_over_ = true;
    if (phase_ == Phase::ending) { // why has been said
        if (wait_status_ == -1 && wait_status != -1) tell_exited(turn, wait_status);
        if (tree_gone_) return tree_gone(turn);
        if (process_ && !process_->running()) end_rest();
        return;
    }
    if (phase_ != Phase::starting && phase_ != Phase::running && phase_ != Phase::stopping) return;
    // Of a stop whose main process has another parent, how that process ended counts.
    if (wait_status == -1) wait_status = wait_status_;
    if (wait_status != -1) tell_exited(turn, wait_status);
    if (log_lines_) log_lines_->drain(turn);
    last_ = "its main process" +
            (wait_status == -1 ? " has ended" : ": " + describe_wait_status(wait_status));
    if (out_of_memory) last_ += " (out of memory)";
    if (phase_ == Phase::stopping) {
        ended_in_stop(failure_of(wait_status, out_of_memory));
        if (process_ && !process_->running() && !waits_for_tree()) end_rest();
        owner_.changed(turn);
        if (tree_gone_) tree_gone(turn);
        return;
    }
    bool success = parsed_->is_success(wait_status);
    if (!success) failed_by(failure_of(wait_status, out_of_memory));
    ended(turn, success);
    if (process_ && process_->running()) end_tree(parsed_->stop_signal);
}

bool Instance::main_is_due() const { return liveness_ && liveness_->main_is_due(); }

// It was asked to stop, and has ended; `last_` says how.
void Instance::ended_in_stop(Failure failure) {
    if (!killed_) return;
    last_ +=
        ", as it did not stop in " + seconds_text(std::max(stop_limit_, parsed_->stop_timeout));
    failure.kind = Failure::Kind::time_limit;
    failed_by(std::move(failure));
}

// What is left of it in a stop gets its chance too.
bool Instance::waits_for_tree() const {
    KillMode mode = parsed_->more().kill_mode;
    return process_->watched() && (mode == KillMode::group || mode == KillMode::tree);
}

void Instance::end_tree(int signal) {
    if (!process_ || process_->gone()) return;
    send_signal(signal);
    timer_ = owner_.context().loop.after(parsed_->stop_timeout, [this] { process_->kill(); });
}

void Instance::send_signal(int signal) {
    switch (parsed_->more().kill_mode) {
    case KillMode::group:
        process_->signal(signal);
        break;
    case KillMode::tree:
        process_->signal_tree(signal);
        break;
    case KillMode::mixed:
    case KillMode::process:
        if (main_is_due()) liveness_->signal_main(signal);
        if (process_->running() || !main_is_due()) process_->signal_process(signal);
        break;
    }
}

// As long as the time is not over; without a cgroup nobody would tell us that the rest has ended.
void Instance::end_rest_in_stop() {
    if (waits_for_tree())
        process_->signal(SIGTERM);
    else if (!main_is_due())
        end_rest();
}

// What the process left behind.
void Instance::end_rest() {
    if (parsed_->more().kill_mode == KillMode::process)
        process_->leave();
    else
        process_->kill();
}

bool Instance::limit_reached() const {
    const RareFields& rare = parsed_->more();
    return rare.restart_starts > 0 && start_times_.size() >= rare.restart_starts &&
           monotonic_now() - start_times_.front() <= rare.restart_within;
}

// --- after it ---

// As systemd.exec(5) has it in SERVICE_RESULT.
std::string_view Instance::result_of_run() const {
    // An earlier run may have failed in another way.
    bool failed = failure_ && (last_ == failure_->how || last_.starts_with(failure_->how + ";"));
    if (phase_ == Phase::stopping ? !killed_ : !failed) return "success";
    if (limit_reached() && outcome_ == Outcome::failed) return "start-limit-hit";
    switch (failure_->kind) {
    case Failure::Kind::exit:
        return "exit-code";
    case Failure::Kind::signal:
        return WCOREDUMP(failure_->wait_status) ? "core-dump" : "signal";
    case Failure::Kind::oom:
        return "oom-kill";
    case Failure::Kind::time_limit:
        return "timeout";
    case Failure::Kind::start:
        return "resources";
    case Failure::Kind::protocol:
        return "protocol";
    case Failure::Kind::not_well:
        break;
    }
    return failure_->how.starts_with("watchdog") ? "watchdog" : "timeout";
}

// Begins what is to be done when nothing of the process is left; false: there is nothing.
bool Instance::clean_up(Turn& turn) {
    const RareFields& rare = parsed_->more();
    std::vector<Command> commands = rare.stop_post;
    uint64_t limit = parsed_->stop_timeout;
    if (s6_ && s6_->finish && last_pid_ != 0) {
        commands.push_back(s6_finish_command(s6_->name, wait_status_, last_pid_));
        limit = s6_->finish_timeout;
    }
    if (commands.empty()) {
        if (!logger_ || phase_ != Phase::stopping) return false;
        cleaned_up(turn, "", 0);
        return true;
    }
    if (phase_ == Phase::stopping && limit > 0) stop_limit_ = monotonic_now() - stop_began_ + limit;
    // As systemd.exec(5) has them.
    std::vector<std::string> environment;
    bool signalled = wait_status_ != -1 && WIFSIGNALED(wait_status_);
    if (wait_status_ != -1) {
        environment.push_back(std::string("EXIT_CODE=") + (signalled ? "killed" : "exited"));
        environment.push_back("EXIT_STATUS=" + (signalled
                                                    ? signal_name(WTERMSIG(wait_status_))
                                                    : std::to_string(WEXITSTATUS(wait_status_))));
    }
    environment.push_back("SERVICE_RESULT=" + std::string(result_of_run()));
    run_commands(s6_ ? "finish" : "stopPost", std::move(commands), std::move(environment), limit,
                 [this](const Error& failure, int status) {
                     later([failure, status](Instance& self, Turn& inner) {
                         self.cleaned_up(inner, failure.message, status);
                     });
                 });
    owner_.changed(turn);
    return true;
}

void Instance::cleaned_up(Turn& turn, const std::string& failure, int status) {
    end_commands();
    if (s6_ && status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 125) {
        if (outcome_ == Outcome::backoff) outcome_ = Outcome::failed;
        last_ += "; finish says that it is not to be started again";
    } else if (!failure.empty()) {
        say(turn, failure);
    }
    if (!logger_ || phase_ != Phase::stopping) return after_run(turn);
    logger_->finish([this] {
        later([](Instance& self, Turn& inner) {
            self.logger_.reset();
            self.after_run(inner);
        });
    });
}

void Instance::after_run(Turn& turn) {
    if (phase_ == Phase::stopping) return idle_again(turn);
    if (phase_ != Phase::ending) return;
    if (outcome_ == Outcome::backoff) return back_off(turn);
    phase_ = Phase::failed;
    owner_.changed(turn);
}

} // namespace muster::services
