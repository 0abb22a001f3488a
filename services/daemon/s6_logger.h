// The logger of an s6 service directory: `log/run` reads what the service writes to stdout.
//
// The pipe between them lasts as long as this, and init keeps it, so that neither notices when the
// other, or the second stage, is started anew. A logger that ends is started again after a second
// (after its `finish`, unless that ends with exit code 125), for as long as it is wanted; at the
// end it gets to read all that is left, and `done` comes when it has ended too. A second stage that
// takes over goes on with the logger, or with its `finish`.
#pragma once

#include "services/daemon/commands.h"
#include "services/daemon/s6_folder.h"

namespace muster::services {

class S6Logger {
  public:
    // What a successor of this second stage must know: the slot of each process of `run`; where
    // `finish` is, which lasts if it says that the logger is not to be started again.
    struct Memory {
        std::function<void(SlotRef)> claimed;
        std::function<void(const CommandPlace&)> finishing;
    };
    // `path`: of the directory of the service. `pipe`: a new one, or that of before, which may be
    // none if it is to end.
    S6Logger(Commands::Owner owner, std::string path, PipeEnds pipe, Memory memory);
    // Go on with what an earlier second stage had started. REQUIRES: not started.
    void adopt(Ref<Process> process);
    void adopt_finish(const CommandPlace& place, Ref<Process> process);

    int input() const { return pipe_.write.get(); } // for the service; -1 at the end
    const PipeEnds& pipe() const { return pipe_; }
    // REQUIRES: not whole, and no process of `run`.
    void renew(PipeEnds pipe) { pipe_ = std::move(pipe); }
    bool whole() const { return pipe_.read && pipe_.write; } // a service can write to it
    void start();
    // REQUIRES: the service has ended. `done` comes from the event loop.
    void finish(std::function<void()> done);
    ~S6Logger();

  private:
    enum Role : uint8_t { reading = 1, writing = 2, output = 3 }; // of what init keeps
    void launch();
    Processes::Events events();
    Result<> launch(const S6LogFolder& folder);
    void gone(int status);
    void make_finish(const S6LogFolder& folder, int status, pid_t pid);
    void finished(const std::string& failure, int status);
    void over();

    Commands::Owner owner_;
    std::string path_;
    PipeEnds pipe_;
    Memory memory_;
    Fd output_; // what it says itself; for init to keep
    Ref<Process> process_;
    std::unique_ptr<LogLines> log_lines_;
    DaemonSpec spec_; // of its programs
    std::unique_ptr<Commands> finish_;
    int status_ = 0;
    bool down_ = false; // its finish said so
    std::function<void()> done_;
    Timer timer_;
    Timer finished_;
};

} // namespace muster::services
