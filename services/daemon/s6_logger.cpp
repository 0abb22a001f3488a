#include "services/daemon/s6_logger.h"

#include <signal.h>

namespace muster::services {

namespace {

constexpr uint64_t pause = 1 * second;      // between two starts
constexpr uint64_t last_words = 5 * second; // to read what is left

} // namespace

S6Logger::S6Logger(Commands::Owner owner, std::string path, PipeEnds pipe)
    : owner_(std::move(owner)), path_(std::move(path)), pipe_(std::move(pipe)) {}

S6Logger::~S6Logger() {
    if (process_) process_->abandon();
}

void S6Logger::start() {
    if (!process_ && !timer_.pending()) launch();
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
        (void)log_lines_->add(std::move(pipe->read), "logger");
        (void)prepare_program(program, context.processes, spec, owner_.name, {"./run"}, false);
        started = context.processes.start(
            owner_.cgroup, std::move(program.request),
            {[this](int status) { status_ = status; }, [this] { gone(status_); }});
    }
    if (!started) return gone(-1);
    process_ = std::move(started->process);
    log_lines_->set_pid(process_->pid());
}

void S6Logger::gone(int) {
    if (log_lines_) log_lines_->finish();
    log_lines_.reset();
    process_ = nullptr;
    if (done_) {
        auto done = std::move(done_);
        done_ = nullptr;
        timer_ = Timer();
        return done();
    }
    timer_ = owner_.context.loop.after(pause, [this] { launch(); });
}

void S6Logger::finish(std::function<void()> done) {
    pipe_.write.reset(); // the end of the file, when it has read the rest
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
