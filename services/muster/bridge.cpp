#include "services/muster/bridge.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "init/base/wait_status.h"
#include "services/muster/bus.h"
#include "services/muster/failed.h"
#include "services/muster/join.h"

namespace muster::command {

namespace {

// The program with its standard input and output on `fd`; -1 if it could not be started.
pid_t start(const std::vector<std::string>& argv, int fd) {
    std::vector<char*> words;
    for (const std::string& word : argv)
        words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    pid_t child = fork();
    if (child != 0) return child;
    signal(SIGPIPE, SIG_DFL);
    dup2(fd, STDIN_FILENO);
    dup2(fd, STDOUT_FILENO);
    execvp(words[0], words.data());
    std::fprintf(stderr, "muster: %s: %s\n", words[0], strerror(errno));
    _exit(127);
}

} // namespace

int join_stdio(const std::string& path, const std::string& what) {
    signal(SIGPIPE, SIG_IGN);
    Result<Fd> socket = connect_to_bus(path, what);
    if (!socket) return failed(socket.error());
    Result<> joined = join({STDIN_FILENO, STDOUT_FILENO}, {socket->get(), socket->get()});
    return joined ? 0 : failed(joined.error());
}

int bridge(const std::string& path, const std::vector<std::string>& argv) {
    signal(SIGPIPE, SIG_IGN);
    // First, so that nothing is started in vain.
    Result<Fd> socket = connect_to_bus(path, "the bridge");
    if (!socket) return failed(socket.error());
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return failed(system_error("socketpair", errno));
    Fd ours(ends[0]);
    Fd theirs(ends[1]);
    pid_t child = start(argv, theirs.get());
    if (child < 0) return failed(system_error("fork", errno));
    theirs.reset();
    Result<> joined = join({ours.get(), ours.get()}, {socket->get(), socket->get()});
    ours.reset(); // the end of its input is the end of the program
    socket->reset();
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (!joined) return failed(joined.error());
    return shell_status(status);
}

} // namespace muster::command
