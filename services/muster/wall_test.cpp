#include "services/muster/wall.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init/base/catch.h"
#include "init/base/fd.h"

using namespace muster;
using namespace muster::command;

TEST_CASE("wall: the terminal of a session is found, and what is written arrives") {
    Fd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    REQUIRE(master);
    REQUIRE(::grantpt(master.get()) == 0);
    REQUIRE(::unlockpt(master.get()) == 0);
    char path[64];
    REQUIRE(::ptsname_r(master.get(), path, sizeof path) == 0);
    int ready[2];
    REQUIRE(::pipe2(ready, O_CLOEXEC) == 0);
    Fd ready_read(ready[0]);
    Fd ready_write(ready[1]);
    CHECK(terminals_in_use().count(path) == 0);
    pid_t session = ::fork();
    if (session == 0) {
        ::setsid();
        int terminal = ::open(path, O_RDWR);
        ::dup2(terminal, STDIN_FILENO);
        ::ioctl(terminal, TIOCSCTTY, 0);
        if (::write(ready[1], "x", 1) != 1) ::_exit(1);
        for (;;)
            ::pause();
    }
    char byte;
    REQUIRE(::read(ready_read.get(), &byte, 1) == 1);
    auto found = terminals_in_use();
    write_to_terminal(path, "the end is near");
    char text[64];
    ssize_t size = ::read(master.get(), text, sizeof text);
    ::kill(session, SIGKILL);
    ::waitpid(session, nullptr, 0);
    CHECK(found.count(path) == 1);
    REQUIRE(size > 0);
    CHECK(std::string(text, static_cast<size_t>(size)) == "the end is near");
}
