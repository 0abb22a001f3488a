#include "services/daemon/s6_logger.h"

#include <fcntl.h>

namespace muster::services {

namespace {

constexpr uint64_t pause = 1 * second;      // between two starts
constexpr uint64_t last_words = 5 * second; // to read what is left

} // namespace

S6Logger::S6Logger(Commands::Owner owner, std::string path, PipeEnds pipe,
                   std::function<void(SlotRef)> claimed)
    : owner_(std::move(owner)), path_(std::move(path)), pipe_(std::move(pipe)),
      claimed_(std::move(claimed)) {}

S6Logger::~S6Logger() {
    if (process_) process_->abandon();
}

void S6Logger::start() {
    if (!process_ && !timer_.pending() && whole()) launch();
}

void S6Logger::launch() {
    const Context& context = owner_.context;
    Program program;
    DaemonSpec spec;
    spec.dir = path_ + "/log";
    log_lines_ = std::make_unique<LogLines>(owner_.engine, context.loop, owner_.facet, context.log,
                                            owner_.service, owner_.name);
    Result<Processes::Started> started = Error{"pipe"};
    if (auto pipe = make_pipe()) {
        program.request.standard_input = pipe_.read.get();
        program.request.standard_output = program.request.standard_error = pipe->write.get();
        program.child.push_back(std::move(pipe->write));
        output_.reset(::fcntl(pipe->read.get(), F_DUPFD_CLOEXEC, 3));
        (void)log_lines_->add(std::move(pipe->read), "logger");
        (void)prepare_program(program, context.processes, spec, owner_.name, {"./run"}, false);
        started = context.processes.start(
            owner_.cgroup, std::move(program.request), events(),
            {claimed_,
             {{reading, pipe_.read.get()}, {writing, pipe_.write.get()}, {output, output_.get()}}});
    }
    if (!started) return gone(-1);
    process_ = std::move(started->process);
    log_lines_->set_pid(process_->pid());
}

Processes::Events S6Logger::events() {
    return {[this](int status) { status_ = status; }, [this] { gone(status_); }};
}

void S6Logger::adopt(Ref<Process> process) {
    process_ = std::move(process);
    log_lines_ = std::make_unique<LogLines>(owner_.engine, owner_.context.loop, owner_.facet,
                                            owner_.context.log, owner_.service, owner_.name);
    log_lines_->set_pid(process_->pid());
    if (Fd fd = process_->take_kept(reading); fd && !pipe_.read) pipe_.read = std::move(fd);
    if (Fd fd = process_->take_kept(writing); fd && !pipe_.write) pipe_.write = std::move(fd);
    output_ = process_->take_kept(output);
    if (output_) (void)log_lines_->add(Fd(::fcntl(output_.get(), F_DUPFD_CLOEXEC, 3)), "logger");
    process_->attach(events());
}

void S6Logger::gone(int) {
    output_.reset();
    if (log_lines_) log_lines_->finish();
    log_lines_.reset();
    process_ = nullptr;
    if (done_) {
        auto done = std::move(done_);
        done_ = nullptr;
        timer_ = Timer();
        return done();
    }
    if (whole()) timer_ = owner_.context.loop.after(pause, [this] { launch(); });
}

void S6Logger::finish(std::function<void()> done) {
    pipe_.write.reset(); // the end of the file, when it has read the rest
    // Which init must not keep open either.
    if (process_ && output_) (void)process_->keep_instead({{output, output_.get()}});
    done_ = std::move(done);
    if (!process_) {
        timer_ = owner_.context.loop.after(0, [this] { gone(0); });
        return;
    }
    timer_ = owner_.context.loop.after(last_words, [this] {
        if (process_) process_->kill();
    });
}

} // namespace muster::services
