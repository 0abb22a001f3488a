// The stub as services meet it: a child that becomes a program, or says why not.
#include "init/exec_stub.h"

#include <cerrno>
#include <cstdlib>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init/base/catch.h"
#include "init/base/fd.h"
#include "init/records.h"

using muster::Fd;
using muster::records::ExecFailure;

namespace {

struct Outcome {
    int status = -1;    // exit status
    std::string output; // of stdout and stderr
    std::string report; // of --error-fd
};

std::string drain(Fd fd) {
    std::string text;
    char buffer[1024];
    ssize_t size;
    while ((size = read(fd.get(), buffer, sizeof buffer)) > 0)
        text.append(buffer, static_cast<std::size_t>(size));
    return text;
}

// `%` among the words stands for the descriptor of the report.
Outcome run(std::vector<std::string> words) {
    int out[2];
    int report[2];
    REQUIRE(pipe2(out, O_CLOEXEC) == 0);
    REQUIRE(pipe2(report, O_CLOEXEC) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], 1);
        dup2(out[1], 2);
        fcntl(report[1], F_SETFD, 0);
        std::vector<char*> argv;
        for (std::string& word : words) {
            if (word == "%") word = std::to_string(report[1]);
            argv.push_back(word.data());
        }
        argv.push_back(nullptr);
        _exit(muster::pid1::run_exec_stub(static_cast<int>(words.size()), argv.data()));
    }
    close(out[1]);
    close(report[1]);
    Outcome outcome;
    outcome.output = drain(Fd(out[0]));
    outcome.report = drain(Fd(report[0]));
    int status = 0;
    waitpid(pid, &status, 0);
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return outcome;
}

ExecFailure failure(const Outcome& outcome) {
    ExecFailure report{};
    REQUIRE(outcome.report.size() == sizeof report);
    outcome.report.copy(reinterpret_cast<char*>(&report), sizeof report);
    CHECK(report.magic == muster::records::kMagic);
    return report;
}

} // namespace

TEST_CASE("init --exec: directory, umask, PATH, arguments") {
    Outcome outcome = run({"--dir", "/usr", "--umask", "027", "--error-fd", "%", "--", "sh", "-c",
                           "pwd; umask; echo \"$1\"", "x", "two words"});
    CHECK(outcome.status == 0);
    CHECK(outcome.output == "/usr\n0027\ntwo words\n");
    CHECK(outcome.report.empty()); // end of file: it was executed
}

TEST_CASE("init --exec: users by name and number") {
    if (geteuid() != 0) {
        muster::test::skip("needs root to become others");
        return;
    }
    CHECK(run({"--user", "nobody", "--", "id", "-un"}).output == "nobody\n");
    CHECK(run({"--user", "65534:0", "--", "sh", "-c", "id -u; id -g; id -G"}).output ==
          "65534\n0\n0\n");
    CHECK(run({"--user", "4242", "--", "sh", "-c", "id -u; id -g"}).output == "4242\n4242\n");
    // What comes after has no way back, and no supplementary groups of ours.
    CHECK(run({"--user", "nobody", "--", "cat", "/etc/shadow"}).status == 1);
}

TEST_CASE("init --exec: what fails is reported with its step") {
    Outcome missing = run({"--error-fd", "%", "--", "/no/such/program"});
    CHECK(missing.status == 127);
    CHECK(failure(missing).error_number == ENOENT);
    CHECK(std::string(failure(missing).step) == "execute /no/such/program");
    Outcome directory = run({"--dir", "/no/such", "--error-fd", "%", "--", "true"});
    CHECK(directory.status == 126);
    CHECK(std::string(failure(directory).step) == "enter /no/such");
    Outcome user = run({"--user", "nobody.at.all", "--error-fd", "%", "--", "true"});
    CHECK(user.status == 126);
    CHECK(std::string(failure(user).step) == "find user nobody.at.all");
    Outcome tty = run({"--tty", "/dev/null", "--error-fd", "%", "--", "true"});
    CHECK(failure(tty).error_number == ENOTTY);
    Outcome said = run({"--dir", "/no/such", "--", "true"});
    CHECK(said.output == "init --exec: enter /no/such: No such file or directory\n");
}

TEST_CASE("init --exec: wrong arguments") {
    for (const std::vector<std::string>& words :
         std::vector<std::vector<std::string>>{{},
                                               {"--"},
                                               {"--dir"},
                                               {"--dir", "/"},
                                               {"--nonsense", "x", "--", "true"},
                                               {"--umask", "9", "--", "true"},
                                               {"--umask", "7777", "--", "true"},
                                               {"--error-fd", "9999", "--", "true"},
                                               {"--error-fd", "x", "--", "true"}}) {
        Outcome outcome = run(words);
        CHECK(outcome.status == 2);
        CHECK(outcome.output.find("usage: init --exec") != std::string::npos);
    }
}

TEST_CASE("init --exec: a controlling terminal") {
    Fd master(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    REQUIRE(master.valid());
    REQUIRE(grantpt(master.get()) == 0);
    REQUIRE(unlockpt(master.get()) == 0);
    std::string name = ptsname(master.get());
    Fd held(open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC)); // its output stays readable
    Outcome outcome = run({"--tty", name, "--", "sh", "-c", "tty; echo through >/dev/tty"});
    CHECK(outcome.status == 0);
    CHECK(outcome.output.empty());
    char text[256] = {};
    ssize_t size = read(master.get(), text, sizeof text - 1);
    CHECK(std::string(text, size > 0 ? static_cast<std::size_t>(size) : 0).find(name + "\r\n") ==
          0);
}
