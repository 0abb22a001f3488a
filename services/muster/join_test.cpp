#include "services/muster/join.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "init/base/catch.h"
#include "init/base/fd.h"

using namespace muster;
using namespace muster::command;

namespace {

struct Pair {
    Fd ours, theirs;
    Pair() {
        int ends[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        ours = Fd(ends[0]);
        theirs = Fd(ends[1]);
    }
};

// Joins the far ends in a process of its own.
struct Joined {
    Pair first, second;
    pid_t child;
    Joined() {
        signal(SIGPIPE, SIG_IGN);
        child = fork();
        if (child == 0) {
            first.ours.reset();
            second.ours.reset();
            int a = first.theirs.get();
            int b = second.theirs.get();
            _exit(join({a, a}, {b, b}) ? 0 : 1);
        }
        first.theirs.reset();
        second.theirs.reset();
    }
    int wait() {
        int status = -1;
        REQUIRE(waitpid(child, &status, 0) == child);
        return status;
    }
};

std::string read_all(int fd) {
    std::string all;
    char buffer[4096];
    for (ssize_t count; (count = read(fd, buffer, sizeof buffer)) > 0;)
        all.append(buffer, static_cast<size_t>(count));
    return all;
}

} // namespace

TEST_CASE("joined streams hand everything on, and who has said all still gets the answer") {
    Joined joined;
    std::string question(300'000, 'q');
    pid_t asker = fork();
    if (asker == 0) {
        joined.second.ours.reset();
        for (size_t sent = 0; sent < question.size();) {
            ssize_t count = write(joined.first.ours.get(), &question[sent], question.size() - sent);
            if (count <= 0) _exit(1);
            sent += static_cast<size_t>(count);
        }
        shutdown(joined.first.ours.get(), SHUT_WR);
        _exit(read_all(joined.first.ours.get()) == "answer" ? 0 : 2);
    }
    joined.first.ours.reset();
    CHECK(read_all(joined.second.ours.get()) == question);
    CHECK(write(joined.second.ours.get(), "answer", 6) == 6);
    joined.second.ours.reset();
    int status = -1;
    REQUIRE(waitpid(asker, &status, 0) == asker);
    CHECK(status == 0);
    CHECK(joined.wait() == 0);
}

TEST_CASE("a joined stream that is full in one direction still moves in the other") {
    Joined joined;
    // Nobody reads what the second side sends, until nothing more fits.
    std::string much(65'536, 'x');
    size_t stuck = 0;
    for (ssize_t count;
         (count = send(joined.second.ours.get(), much.data(), much.size(), MSG_DONTWAIT)) > 0;)
        stuck += static_cast<size_t>(count);
    CHECK(write(joined.first.ours.get(), "through", 7) == 7);
    char buffer[16] = {};
    CHECK(read(joined.second.ours.get(), buffer, sizeof buffer) == 7);
    CHECK(std::string(buffer) == "through");
    joined.first.ours.reset(); // takes no more
    CHECK(joined.wait() == 0);
}

TEST_CASE("the end of the second stream ends a join at once") {
    Joined joined;
    joined.second.ours.reset();
    CHECK(joined.wait() == 0);
    CHECK(read_all(joined.first.ours.get()).empty());
}
