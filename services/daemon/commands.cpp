#include "services/daemon/commands.h"

#include <algorithm>

#include "init/base/seconds_text.h"

namespace muster::services {

namespace {

constexpr uint64_t longest_patience = 5 * second;
constexpr uint64_t longest_wait = 60 * second;

} // namespace

void Commands::Owner::say(std::string line) const {
    engine.external(facet, [log = context.log, service = service,
                            line = std::move(line)](dataspace::Turn& turn) {
        turn.message(log, log_record(service, "supervisor", line, 0));
    });
}

Commands::Commands(Owner owner, const DaemonSpec& spec, std::string what,
                   std::vector<Command> commands, std::vector<std::string> environment,
                   uint64_t limit, Done done)
    : owner_(std::move(owner)), spec_(spec), what_(std::move(what)), commands_(std::move(commands)),
      environment_(std::move(environment)), limit_(limit), done_(std::move(done)) {}

Commands::~Commands() {
    if (process_) process_->abandon();
}

void Commands::start() {
    begin_limit();
    next();
}

void Commands::begin_limit() {
    if (limit_ > 0)
        timer_ = owner_.context.loop.after(limit_, [this] {
            late_ = true;
            if (process_) return process_->kill();
            if (patience_ == 0 || !soon_.pending()) return;
            soon_.cancel();
            finish(Error{what_ + ": not started, as its time was over"});
        });
}

void Commands::resume(const CommandPlace& place, Ref<Process> process) {
    begin_limit();
    at_ = std::min(place.at, commands_.size());
    if (process && at_ == commands_.size()) {
        process->disown();
        process = nullptr;
    }
    if (!process) {
        // Never from within a call of our owner.
        soon_ = owner_.context.loop.after(0, [this] { next(); });
        return;
    }
    ++at_;
    status_ = -1;
    process_ = std::move(process);
    make_log_lines();
    if (Fd fd = process_->take_kept(output)) (void)log_lines_->add(std::move(fd), "stdout");
    report_ = process_->take_kept(report);
    log_lines_->set_pid(process_->pid());
    note(process_->slot(), place.status);
    process_->attach(events());
}

void Commands::note(SlotRef slot, std::optional<int> status) const {
    if (note_) note_({what_, at_ - 1, slot, status});
}

Processes::Events Commands::events() {
    return {[this](int status) { ended(status); }, [this] { gone(); }};
}

// Into files too, so that nothing of it vanishes with us.
void Commands::make_log_lines() {
    const Context& context = owner_.context;
    log_lines_ =
        std::make_unique<LogLines>(owner_.engine, context.loop, owner_.facet, context.log,
                                   owner_.service, owner_.name, context.journal, spec_.log);
}

void Commands::next() {
    if (at_ == commands_.size()) return finish({});
    auto launched = launch(commands_[at_++]);
    if (launched || wait_for_room(launched.error())) return;
    // Never from within a call of our owner.
    soon_ = owner_.context.loop.after(
        0, [this, error = launched.error().with_context(what_)] { finish(error); });
}

bool Commands::wait_for_room(const Error& error) {
    if (patience_ == 0 || !error.exhausted() || late_) return false;
    // Without a limit of all there is one of this.
    if (limit_ == 0 && waited_ >= longest_wait) return false;
    waited_ += patience_;
    --at_;
    if (note_) note_({what_, at_, {}, {}}); // it has not been started yet
    patience_ = std::min(patience_ * 2, longest_patience);
    owner_.say(what_ + ": " + error.message + "; tried again in " + seconds_text(patience_));
    soon_ = owner_.context.loop.after(patience_, [this] { next(); });
    return true;
}

Result<> Commands::launch(const Command& command) {
    const Context& context = owner_.context;
    make_log_lines();
    Program program;
    auto pipe = make_pipe();
    if (!pipe) return pipe.error();
    // Both in one, in the order in which it was said.
    program.request.standard_output = program.request.standard_error = pipe->write.get();
    program.child.push_back(std::move(pipe->write));
    Processes::Survival survival;
    if (note_) {
        survival.claimed = [this](SlotRef slot) { note(slot, std::nullopt); };
        survival.kept.push_back({output, pipe->read.get()});
    }
    if (auto added = log_lines_->add(std::move(pipe->read), "stdout"); !added) return added;
    auto prepared = prepare_program(program, context.processes, spec_, owner_.name, command, false,
                                    environment_);
    if (!prepared) return prepared;
    failure_ = {};
    status_ = -1;
    report_ = std::move(program.report);
    if (note_ && report_) survival.kept.push_back({report, report_.get()});
    auto started = context.processes.start(owner_.cgroup, std::move(program.request), events(),
                                           std::move(survival));
    if (!started) return started.error();
    process_ = std::move(started->process);
    failure_ = std::move(started->failure);
    log_lines_->set_pid(process_->pid());
    return {};
}

void Commands::ended(int status) {
    status_ = status;
    note(process_->slot(), status);
    if (report_ && failure_.message.empty())
        failure_ = read_report(report_.get()).value_or(Error{});
    if (!process_->gone()) process_->kill(); // what it left behind
}

void Commands::gone() {
    log_lines_->finish();
    log_lines_.reset();
    process_ = nullptr;
    report_.reset();
    if (late_) return finish(Error{what_ + ": killed, as its time was over"});
    if (!failure_.message.empty()) {
        if (wait_for_room(failure_)) return;
        return finish(failure_.with_context(what_));
    }
    if (status_ != 0) return finish(Error{what_ + ": " + describe_wait_status(status_)});
    next();
}

void Commands::finish(const Error& failure) {
    timer_.cancel();
    auto done = std::move(done_);
    done_ = nullptr;
    if (done) done(failure, status_);
}

} // namespace muster::services
