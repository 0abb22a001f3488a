#include "services/daemon/commands.h"

namespace muster::services {

Commands::Commands(Owner owner, const DaemonSpec& spec, std::string what,
                   std::vector<Command> commands, std::vector<std::string> environment,
                   uint64_t limit, Done done)
    : owner_(std::move(owner)), spec_(spec), what_(std::move(what)), commands_(std::move(commands)),
      environment_(std::move(environment)), limit_(limit), done_(std::move(done)) {}

Commands::~Commands() {
    if (process_) process_->abandon();
}

void Commands::start() {
    if (limit_ > 0)
        timer_ = owner_.context.loop.after(limit_, [this] {
            late_ = true;
            if (process_) process_->kill();
        });
    next();
}

void Commands::next() {
    if (at_ == commands_.size()) return finish("");
    auto launched = launch(commands_[at_++]);
    if (launched) return;
    // Never from within a call of our owner.
    soon_ = owner_.context.loop.after(
        0, [this, message = launched.error().message] { finish(what_ + ": " + message); });
}

Result<> Commands::launch(const Command& command) {
    const Context& context = owner_.context;
    log_lines_ = std::make_unique<LogLines>(owner_.engine, context.loop, owner_.facet, context.log,
                                            owner_.service, owner_.name);
    Program program;
    auto pipe = make_pipe();
    if (!pipe) return pipe.error();
    // Both in one, in the order in which it was said.
    program.request.standard_output = program.request.standard_error = pipe->write.get();
    program.child.push_back(std::move(pipe->write));
    if (auto added = log_lines_->add(std::move(pipe->read), "stdout"); !added) return added;
    auto prepared = prepare_program(program, context.processes, spec_, owner_.name, command, false,
                                    environment_);
    if (!prepared) return prepared;
    failure_.clear();
    status_ = -1;
    report_ = std::move(program.report);
    auto started =
        context.processes.start(owner_.cgroup, std::move(program.request),
                                {[this](int status) { ended(status); }, [this] { gone(); }});
    if (!started) return started.error();
    process_ = std::move(started->process);
    failure_ = std::move(started->failure);
    log_lines_->set_pid(process_->pid());
    return {};
}

void Commands::ended(int status) {
    status_ = status;
    if (report_ && failure_.empty()) failure_ = read_report(report_.get()).value_or("");
    if (!process_->gone()) process_->kill(); // what it left behind
}

void Commands::gone() {
    log_lines_->finish();
    log_lines_.reset();
    process_ = nullptr;
    report_.reset();
    if (late_) return finish(what_ + ": killed, as its time was over");
    if (!failure_.empty()) return finish(what_ + ": " + failure_);
    if (status_ != 0) return finish(what_ + ": " + describe_wait_status(status_));
    next();
}

void Commands::finish(const std::string& failure) {
    timer_.cancel();
    auto done = std::move(done_);
    done_ = nullptr;
    if (done) done(failure, status_);
}

} // namespace muster::services
