// What an instance writes to the ledger, and how one goes on from there (instance.h).
#include <fcntl.h>
#include <poll.h>

#include <algorithm>

#include "services/daemon/daemon.h"
#include "services/tracker/service.h"

namespace muster::services {

namespace {

// The process of a command that a second stage before us had begun, also one that has ended; null:
// there is none yet.
Ref<Process> process_at(Processes& processes, const CommandPlace& place) {
    Ref<Process> process;
    if (place.slot.generation != 0) process = processes.claim_adopted(place.slot);
    if (!process && place.status) process = processes.gone_already(*place.status);
    return process;
}

} // namespace

// --- written ---

// Room in the ledger, from the first start on.
Result<> Instance::register_run() {
    Adoption* adoption = owner_.context().adoption;
    if (adoption == nullptr || !adoption->ledger() || entry_) return {};
    Value id = without_capabilities(owner_.id());
    Value spec = without_capabilities(spec_);
    auto record = adoption->ledger().add(id, spec);
    if (!record) return record.error();
    entry_ = LedgerEntry(adoption->ledger(), *record);
    return {};
}

// Before the process is made: whoever finds the slot without a pid knows that it never was.
void Instance::claimed(SlotRef slot) {
    if (!entry_) return;
    carry();
    entry_->slot = slot.index;
    entry_->generation = slot.generation;
    entry_->starts = starts_;
    entry_->started_at = started_at_;
    entry_->next_delay = next_delay_;
    entry_->main_pid = 0;
    entry_->main_started = 0;
    entry_->watchdog_ms = 0;
    Ledger::Word word;
    word.phase = static_cast<uint8_t>(Phase::starting);
    word.failure = entry_.word().failure;
    entry_.set_word(word);
}

void Instance::remember() {
    if (!entry_) return;
    Ledger::Word word = entry_.word();
    word.phase = static_cast<uint8_t>(phase_);
    word.outcome = static_cast<uint8_t>(outcome_);
    word.ready = ready_;
    word.retired = retired_;
    word.judged = phase_ == Phase::ending || phase_ == Phase::complete;
    word.killed = killed_;
    if (phase_ != Phase::stopping) word.signalled = false;
    entry_->starts = starts_;
    entry_->started_at = started_at_;
    entry_->next_delay = next_delay_;
    entry_->next_start = next_start_;
    entry_.set_last(last_);
    if (failure_) {
        word.failure = static_cast<uint8_t>(failure_->kind);
        entry_->failures = static_cast<uint32_t>(failure_->count);
        entry_->failed_at = failure_->time_us;
    }
    if (!process_) {
        entry_->wait_status = wait_status_;
        entry_->main_pid = last_pid_;
        entry_->main_started = 0;
        word.ended = word.gone = word.notifying = false;
        entry_->generation = 0;
    }
    carry();
    entry_.set_word(word);
}

void Instance::carry() {
    if (!entry_) return;
    Carried carried;
    if (parsed_ && parsed_->more().restart_starts > 0) carried.starts = start_times_;
    if (liveness_) {
        carried.says = liveness_->status();
        carried.reloading = liveness_->reloading();
    }
    if (last_.size() >= Ledger::last_size) carried.last = last_;
    if (failure_) carried.failure = {failure_->how, failure_->wait_status, failure_->lines};
    if (phase_ == Phase::starting || phase_ == Phase::idle) carried.before = before_;
    if (place_) carried.commands = *place_;
    if (logger_place_) carried.logger = *logger_place_;
    if (liveness_) carried.main = liveness_->main_slot();
    carried.main_status = main_status_;
    if (carried.empty()) return entry_.set_note(Ledger::NoteKind::carried, {});
    Value value = carried.encode();
    entry_.set_note(
        Ledger::NoteKind::carried,
        {reinterpret_cast<const char*>(value.view().bytes().data()), value.view().bytes().size()});
}

void Instance::remember_stop(uint64_t grace) {
    if (!entry_) return;
    entry_->stop_by = monotonic_now() + grace;
    remember();
}

void Instance::remember_signalled() const {
    if (!entry_) return;
    Ledger::Word word = entry_.word();
    word.signalled = true;
    entry_.set_word(word);
}

// A line that was read and not yet acted upon is nowhere else.
void Instance::note_notifying(bool yes) const {
    if (!entry_) return;
    Ledger::Word word = entry_.word();
    word.notifying = yes;
    entry_.set_word(word);
}

// The same for messages on the notify socket.
void Instance::note_heard(bool ready) {
    if (!entry_) return;
    pid_t main = liveness_->main_pid();
    if (main != 0 && main != entry_->main_pid) {
        entry_->main_started = std::max<uint64_t>(process_started(main), 1);
        entry_->main_pid = main;
        main_status_.reset();
    }
    entry_->watchdog_ms = static_cast<uint32_t>(liveness_->watchdog_asked() / millisecond);
    carry();
    if (ready) note_notifying(true);
}

Process::Events Instance::process_events(bool end_known) {
    Process::Events events;
    if (!end_known)
        events.exited = [this](int status) {
            if (entry_) {
                Ledger::Word word = entry_.word();
                entry_->wait_status = status;
                word.ended = true;
                entry_.set_word(word);
            }
            later([status](Instance& self, Turn& turn) { self.process_ended(turn, status); });
        };
    events.gone = [this] {
        if (entry_) {
            Ledger::Word word = entry_.word();
            word.gone = true;
            entry_.set_word(word);
        }
        // All that it wrote comes before the news of its end.
        if (log_lines_) log_lines_->finish();
        later([](Instance& self, Turn& turn) { self.tree_gone(turn); });
    };
    return events;
}

// --- read ---

void Instance::adopt(Turn& turn, LedgerEntry entry) {
    entry_ = std::move(entry);
    unconfirmed_ = true;
    Ledger::Word word = entry_.word();
    starts_ = entry_->starts;
    started_at_ = entry_->started_at;
    next_delay_ = std::max(entry_->next_delay, first_delay());
    next_start_ = entry_->next_start;
    last_ = std::string(entry_->last, strnlen(entry_->last, Ledger::last_size));
    retired_ = word.retired;
    killed_ = word.killed;
    outcome_ = word.outcome <= static_cast<uint8_t>(Outcome::failed)
                   ? static_cast<Outcome>(word.outcome)
                   : Outcome::none;
    phase_ = word.phase <= static_cast<uint8_t>(Phase::failed) ? static_cast<Phase>(word.phase)
                                                               : Phase::idle;
    adopt_carried();
    Processes& processes = owner_.context().processes;
    Ref<Process> process;
    if (entry_->generation != 0) {
        process = processes.claim_adopted({entry_->slot, entry_->generation});
        if (!process && word.ended) process = processes.gone_already(entry_->wait_status);
    }
    if (!parsed_) { // by this program: nothing can be done with it but end it
        if (process) process->abandon();
        process = nullptr;
        phase_ = Phase::idle;
    }
    // Who waits there must not find them closed, whatever the service is at.
    if (parsed_ && phase_ != Phase::idle) adopt_sockets(turn);
    if (!process && parsed_ && !parsed_->more().s6.empty() && reread_s6()) adopt_logger({});
    if (process) {
        adopt_process(turn, std::move(process));
    } else if (phase_ == Phase::backoff) {
        delay_ = next_start_ > monotonic_now() ? next_start_ - monotonic_now() : 0;
        back_off(turn);
    } else if ((entry_->main_pid != 0 || resumes("stopPost")) &&
               (phase_ == Phase::ending || phase_ == Phase::stopping)) {
        // What is done after the end goes on, or is begun anew.
        wait_status_ = entry_->wait_status;
        last_pid_ = entry_->main_pid;
        stop_began_ = monotonic_now();
        tree_gone_ = over_ = true;
        if (!clean_up(turn)) after_run(turn);
    } else if (phase_ == Phase::starting && resume_before(turn)) {
        // The commands before the process.
    } else if (phase_ != Phase::complete && phase_ != Phase::failed) {
        // Between the intent and the process, or just to be started.
        if (phase_ == Phase::starting && starts_ > 0) --starts_;
        if (phase_ == Phase::starting && !start_times_.empty()) start_times_.pop_back();
        phase_ = Phase::idle;
        if (retired_) {
            end_resume();
            return before_ == 0 ? owner_.instance_gone(turn, *this) : stop(turn);
        }
    }
    if (resume_ && !resumes("stopPost") && !resumes("finish")) end_resume();
    owner_.changed(turn);
}

void Instance::adopt_sockets(Turn& turn) {
    auto sockets = owner_.context().sockets->open_all(parsed_->more().listen);
    if (sockets)
        sockets_ = std::move(*sockets);
    else
        say(turn, sockets.error().message);
}

void Instance::adopt_carried() {
    Carried carried;
    if (std::string_view note = entry_.note(Ledger::NoteKind::carried); !note.empty())
        if (auto value = Ledger::value_of(note)) carried = Carried::decode(*value);
    if (!carried.last.empty()) last_ = carried.last;
    adopt_failure(carried);
    if (!parsed_) return;
    const RareFields& rare = parsed_->more();
    start_times_ = std::move(carried.starts);
    before_ = std::min(carried.before, rare.start_pre.size());
    resume_ = std::make_unique<Resume>();
    resume_->says = std::move(carried.says);
    resume_->reloading = carried.reloading;
    Processes& all = owner_.context().processes;
    resume_->main = all.follow_adopted(carried.main);
    main_status_ = carried.main_status;
    if (!resume_->main && main_status_) resume_->main = all.gone_already(*main_status_);
    if (!carried.logger.what.empty())
        logger_place_ = std::make_unique<CommandPlace>(std::move(carried.logger));
    CommandPlace& place = resume_->place = std::move(carried.commands);
    if (place.what.empty()) return;
    resume_->process = process_at(all, place);
    if (place.what == "startPre") before_ = std::min(place.at, rare.start_pre.size());
}

bool Instance::resumes(std::string_view what) const {
    return resume_ && resume_->place.what == what;
}

// What a second stage before us had begun is of no use.
void Instance::end_resume() {
    if (resume_ && resume_->process) resume_->process->disown();
    if (resume_ && resume_->main) resume_->main->let_go();
    resume_.reset();
}

// Whether a command before the process was under way.
bool Instance::resume_before(Turn& turn) {
    if (!resumes("startPre") || !resume_->process || parsed_->more().start_pre.empty())
        return false;
    ++run_;
    tree_gone_ = true; // nothing is there yet
    over_ = false;
    make_liveness();
    run_before(turn);
    return true;
}

void Instance::adopt_failure(const Carried& carried) {
    Ledger::Word word = entry_.word();
    if (entry_->failures == 0 || word.failure > static_cast<uint8_t>(Failure::Kind::not_well))
        return;
    Failure failure;
    failure.kind = static_cast<Failure::Kind>(word.failure);
    failure.how = carried.failure ? carried.failure->how : last_;
    failure.wait_status = carried.failure ? carried.failure->status : entry_->wait_status;
    if (carried.failure) failure.lines = carried.failure->lines;
    failure.time_us = entry_->failed_at;
    failure.count = entry_->failures;
    uint64_t now = monotonic_now();
    if (phase_ == Phase::backoff)
        failure.next_us = logs::realtime_us() + (next_start_ > now ? next_start_ - now : 0) / 1000;
    failure_ = std::make_unique<Failure>(std::move(failure));
}

std::unique_ptr<S6Logger> Instance::make_logger(PipeEnds pipe) {
    S6Logger::Memory memory;
    memory.claimed = [this](SlotRef slot) {
        if (!entry_) return;
        if (std::exchange(logger_place_, nullptr)) carry();
        entry_->logger_slot = slot.index;
        entry_->logger_generation = slot.generation;
    };
    memory.finishing = [this](const CommandPlace& place) {
        logger_place_.reset();
        if (!place.what.empty()) logger_place_ = std::make_unique<CommandPlace>(place);
        carry();
    };
    return std::make_unique<S6Logger>(commands_owner(), s6_->path, std::move(pipe),
                                      std::move(memory));
}

// The one that was there goes on reading, or its finish goes on; `pipe`: what was kept for the
// process.
void Instance::adopt_logger(PipeEnds pipe) {
    Processes& processes = owner_.context().processes;
    Ref<Process> run;
    if (entry_->logger_generation != 0)
        run = processes.claim_adopted({entry_->logger_slot, entry_->logger_generation});
    Ref<Process> finish = logger_place_ ? process_at(processes, *logger_place_) : nullptr;
    if (!finish && !run && (!pipe.read || !pipe.write)) return;
    logger_ = make_logger(std::move(pipe));
    if (finish) {
        if (run) run->disown(); // it has ended, else there were no finish
        CommandPlace place = *logger_place_;
        logger_->adopt_finish(place, std::move(finish));
    } else if (run) {
        logger_->adopt(std::move(run));
    } else {
        logger_->start();
    }
}

void Instance::adopt_process(Turn& turn, Ref<Process> process) {
    const Ledger::Word word = entry_.word();
    const Context& context = owner_.context();
    ++run_;
    process_ = std::move(process);
    tree_gone_ = false;
    over_ = false;
    ready_ = word.ready;
    log_lines_ =
        std::make_unique<LogLines>(owner_.engine(), context.loop, owner_.facet(), context.log,
                                   owner_.service(), owner_.name(), context.journal, parsed_->log);
    log_lines_->remember_in(entry_);
    log_lines_->set_pid(process_->pid());
    turn.in(*owner_.facet(), [this](Turn& inner) {
        run_facet_ = inner.facet([](Turn&) {});
        run_keep_ = dataspace::KeepAlive(run_facet_);
    });
    adopt_descriptors(turn, word.notifying);
    adopt_company(turn);
    process_->attach(process_events(word.judged && !process_->running()));
    switch (phase_) {
    case Phase::starting:
        // Not before `init --exec` has said that it runs.
        if ((parsed_->ready_on_start && !report_) || resumes("startPost")) became_ready(turn);
        break;
    case Phase::ending:
        if (!process_->running() && !main_is_due()) {
            end_rest();
            break;
        }
        // It was given up on, and may not have been told.
        send_signal(parsed_->stop_signal);
        timer_ = context.loop.after(parsed_->stop_timeout, [this] { process_->kill(); });
        break;
    case Phase::stopping: {
        if (!word.signalled) send_signal(parsed_->stop_signal);
        uint64_t now = monotonic_now();
        stop_began_ = now;
        kill_after(entry_->stop_by > now ? entry_->stop_by - now : 0);
        break;
    }
    default:
        break;
    }
}

void Instance::adopt_descriptors(Turn& turn, bool notifying) {
    auto take = [this](KeptRole role) { return process_->take_kept(static_cast<uint8_t>(role)); };
    if (Fd fd = take(KeptRole::standard_output)) (void)log_lines_->add(std::move(fd), "stdout");
    if (Fd fd = take(KeptRole::standard_error)) (void)log_lines_->add(std::move(fd), "stderr");
    if (Fd fd = take(KeptRole::notify); fd && phase_ == Phase::starting) {
        pollfd waiting{fd.get(), POLLIN, 0};
        bool more = ::poll(&waiting, 1, 0) > 0 && (waiting.revents & POLLIN) != 0;
        if (notifying && !more)
            became_ready(turn);
        else
            watch_notify(std::move(fd));
    }
    bool runs = phase_ == Phase::starting || phase_ == Phase::running;
    kept_input_ = take(KeptRole::channel_input);
    kept_output_ = take(KeptRole::channel_output);
    if (!runs || parsed_->protocol == Protocol::none) return;
    if (kept_input_ && kept_output_) {
        resuming_ = std::make_unique<Adoption::Peer>(*owner_.context().adoption);
        // What was granted besides is known when the configuration is.
        if (!parsed_->grant.valid()) resume_channel(turn);
        return;
    }
    // It found the end of its input, and ends by itself or is asked to.
    timer_ = owner_.context().loop.after(parsed_->stop_timeout, [this] {
        later([](Instance& self, Turn& inner) {
            if (self.process_ && self.process_->running())
                self.channel_closed(inner, "it cannot resume");
        });
    });
}

void Instance::resume_channel(Turn& turn) {
    if (!kept_input_ || !process_) return;
    open_channel(turn, std::move(kept_input_), std::move(kept_output_), true);
}

bool Instance::runs(const Value& spec) const {
    return unconfirmed_ ? without_capabilities(spec) == spec_ : spec == spec_;
}

void Instance::confirm(Turn& turn, Value spec) {
    unconfirmed_ = false;
    spec_ = std::move(spec);
    parsed_ = parse_spec(spec_);
    if (s6_)
        if (auto read = reread_s6(); !read) say(turn, read.error().message);
    if (phase_ == Phase::starting || phase_ == Phase::running) resume_channel(turn);
    owner_.changed(turn);
}

} // namespace muster::services
