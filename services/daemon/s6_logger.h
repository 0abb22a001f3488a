// The logger of an s6 service directory: `log/run` reads what the service writes to stdout.
//
// The pipe between them lasts as long as this, so that neither notices when the other is started
// anew. A logger that ends is started again after a second, for as long as it is wanted; at the
// end it gets to read all that is left, and `done` comes when it has ended too.
#pragma once

#include "services/daemon/commands.h"

namespace muster::services {

class S6Logger {
  public:
    // `path`: of the directory of the service. `pipe`: a new one, or that of before.
    S6Logger(Commands::Owner owner, std::string path, PipeEnds pipe);

    int input() const { return pipe_.write.get(); } // for the service; -1 at the end
    const PipeEnds& pipe() const { return pipe_; }
    void start();
    // REQUIRES: the service has ended. `done` comes from the event loop.
    void finish(std::function<void()> done);
    ~S6Logger();

  private:
    void launch();
    void gone(int status);

    Commands::Owner owner_;
    std::string path_;
    PipeEnds pipe_;
    Ref<Process> process_;
    std::unique_ptr<LogLines> log_lines_;
    int status_ = 0;
    std::function<void()> done_;
    Timer timer_;
};

} // namespace muster::services
