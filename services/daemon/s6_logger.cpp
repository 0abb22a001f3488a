#include "services/daemon/s6_logger.h"

#include <fcntl.h>
#include <sys/wait.h>

#include <cerrno>

namespace muster::services {

namespace {

constexpr uint64_t pause = 1 * second;      // between two starts
constexpr uint64_t last_words = 5 * second; // to read what is left

} // namespace

S6Logger::S6Logger(Commands::Owner owner, std::string path, PipeEnds pipe, Memory memory)
    : owner_(std::move(owner)), path_(std::move(path)), pipe_(std::move(pipe)),
      memory_(std::move(memory)) {}

S6Logger::~S6Logger() {
    if (process_) process_->abandon();
}

void S6Logger::start() {
    if (!process_ && !finish_ && !timer_.pending() && !down_ && whole()) launch();
}

void S6Logger::launch() {
    auto folder = read_s6_log_folder(path_);
    Result<> launched = folder ? launch(*folder) : Result<>(folder.error());
    if (launched) return;
    owner_.say("its logger: " + launched.error().message);
    over();
}

Result<> S6Logger::launch(const S6LogFolder& folder) {
    const Context& context = owner_.context;
    Program program;
    spec_.dir = folder.path;
    log_lines_ = std::make_unique<LogLines>(owner_.engine, context.loop, owner_.facet, context.log,
                                            owner_.service, owner_.name);
    auto pipe = make_pipe();
    if (!pipe) return pipe.error();
    program.request.standard_input = pipe_.read.get();
    program.request.standard_output = program.request.standard_error = pipe->write.get();
    program.child.push_back(std::move(pipe->write));
    if (folder.notification >= 0) {
        Fd nobody(::open("/dev/null", O_WRONLY | O_CLOEXEC));
        if (!nobody) return system_error("/dev/null", errno);
        program.request.handed.push_back({nobody.get(), folder.notification});
        program.child.push_back(std::move(nobody));
    }
    output_.reset(::fcntl(pipe->read.get(), F_DUPFD_CLOEXEC, 3));
    if (auto added = log_lines_->add(std::move(pipe->read), "logger"); !added) return added;
    auto prepared = prepare_program(program, context.processes, spec_, owner_.name,
                                    {"./run", folder.name}, false);
    if (!prepared) return prepared;
    auto started = context.processes.start(
        owner_.cgroup, std::move(program.request), events(),
        {memory_.claimed,
         {{reading, pipe_.read.get()}, {writing, pipe_.write.get()}, {output, output_.get()}}});
    if (!started) return started.error();
    process_ = std::move(started->process);
    log_lines_->set_pid(process_->pid());
    if (const Error& failure = started->failure; !failure.message.empty())
        owner_.say("its logger: " + failure.message);
    return {};
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

void S6Logger::gone(int status) {
    pid_t pid = process_->pid();
    log_lines_->finish();
    process_ = nullptr;
    auto folder = read_s6_log_folder(path_);
    if (!folder || !folder->finish) return over();
    make_finish(*folder, status, pid);
    finish_->start();
}

void S6Logger::make_finish(const S6LogFolder& folder, int status, pid_t pid) {
    spec_.dir = folder.path;
    finish_ = std::make_unique<Commands>(
        owner_, spec_, "finish of the logger",
        std::vector<Command>{s6_finish_command(folder.name, status, pid)},
        std::vector<std::string>{}, folder.finish_timeout, [this](const Error& failure, int code) {
            // Never from within a call of the commands.
            finished_ = owner_.context.loop.after(
                0, [this, failure, code] { finished(failure.message, code); });
        });
    finish_->keep(memory_.finishing);
}

// What it was told is in its arguments.
void S6Logger::adopt_finish(const CommandPlace& place, Ref<Process> process) {
    auto folder = read_s6_log_folder(path_);
    if (!folder) {
        process->disown();
        return over();
    }
    make_finish(*folder, 0, process->pid());
    finish_->resume(place, std::move(process));
}

void S6Logger::finished(const std::string& failure, int status) {
    finish_.reset();
    down_ = status != -1 && WIFEXITED(status) && WEXITSTATUS(status) == 125;
    if (down_)
        owner_.say("finish of the logger says that it is not to be started again");
    else if (!failure.empty())
        owner_.say(failure);
    if (!down_) memory_.finishing({});
    over();
}

// Nothing of it is left: it is started again, or that was the end.
void S6Logger::over() {
    output_.reset();
    log_lines_.reset();
    if (done_) {
        auto done = std::move(done_);
        done_ = nullptr;
        timer_ = Timer();
        return done();
    }
    if (whole() && !down_) timer_ = owner_.context.loop.after(pause, [this] { launch(); });
}

void S6Logger::finish(std::function<void()> done) {
    pipe_.write.reset(); // the end of the file, when it has read the rest
    // Which init must not keep open either.
    if (process_ && output_) (void)process_->keep_instead({{output, output_.get()}});
    done_ = std::move(done);
    if (finish_ || finished_.pending()) return; // has its own limit
    if (!process_) {
        timer_ = owner_.context.loop.after(0, [this] { over(); });
        return;
    }
    timer_ = owner_.context.loop.after(last_words, [this] {
        if (process_) process_->kill();
    });
}

} // namespace muster::services
