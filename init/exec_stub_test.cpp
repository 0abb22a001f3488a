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
    CHECK(std::string(failure(user).step) == "no user nobody.at.all");
    Outcome tty = run({"--tty", "/dev/null", "--error-fd", "%", "--", "true"});
    CHECK(failure(tty).error_number == ENOTTY);
    Outcome said = run({"--dir", "/no/such", "--", "true"});
    CHECK(said.output == "init --exec: enter /no/such: No such file or directory\n");
}

TEST_CASE("init --exec: groups, and what follows from the user") {
    if (geteuid() != 0) {
        muster::test::skip("needs root to become others");
        return;
    }
    CHECK(run({"--user", "nobody", "--group", "daemon", "--groups", "bin,7", "--", "sh", "-c",
               "id -g; id -G"})
              .output == "1\n1 2 7\n");
    CHECK(run({"--group", "daemon", "--", "sh", "-c", "id -u; id -g"}).output == "0\n1\n");
    // Variables that are set already are somebody's wish.
    CHECK(run({"--user", "nobody", "--", "env", "-u", "PATH", "sh", "-c", "echo $USER $LOGNAME"})
              .output == "nobody nobody\n");
    CHECK(
        std::string(failure(run({"--groups", "no.such", "--error-fd", "%", "--", "true"})).step) ==
        "no group no.such");
}

TEST_CASE("init --exec: files of variables") {
    std::string path = "/tmp/muster-exec-" + std::to_string(getpid());
    auto write_file = [&](std::string_view text) {
        Fd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
        REQUIRE(write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    };
    write_file("# remark\n\n; another\nexport A=1\n B = 'two words' \nC=\"x=y\"\nPATH=\nD=");
    Outcome good = run({"--env-file", path, "--env-file", "-/no/such", "--", "/bin/sh", "-c",
                        "echo \"$A|$B|$C|$PATH|${D-unset}\""});
    CHECK(good.output == "1|two words|x=y||\n");
    write_file("A=1\nnonsense here=2\n");
    Outcome bad = run({"--env-file", path, "--error-fd", "%", "--", "true"});
    CHECK(std::string(failure(bad).step) == "understand line " + path + ":2");
    Outcome missing = run({"--env-file", "/no/such", "--error-fd", "%", "--", "true"});
    CHECK(failure(missing).error_number == ENOENT);
    unlink(path.c_str());
}

TEST_CASE("init --exec: standard descriptors are files") {
    std::string path = "/tmp/muster-exec-out-" + std::to_string(getpid());
    CHECK(run({"--stdout", ">" + path, "--", "echo", "first"}).status == 0);
    CHECK(run({"--stdout", ">>" + path, "--stderr", ">>" + path, "--", "sh", "-c",
               "echo second; echo third >&2"})
              .status == 0);
    CHECK(run({"--stdin", path, "--", "cat"}).output == "first\nsecond\nthird\n");
    CHECK(run({"--stdout", ">" + path, "--", "echo", "anew"}).status == 0);
    CHECK(run({"--stdin", path, "--", "cat"}).output == "anew\n");
    unlink(path.c_str());
    CHECK(std::string(failure(run({"--stdin", path, "--error-fd", "%", "--", "cat"})).step) ==
          "open " + path);
}

TEST_CASE("init --exec: nice value, limits, OOM score") {
    Outcome outcome =
        run({"--nice", "7", "--limit", "nofile=100:200", "--limit", "core=0", "--oom-score", "500",
             "--", "sh", "-c",
             "nice; ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj"});
    CHECK(outcome.output == "7\n100\n200\n0\n500\n");
    CHECK(failure(run({"--limit", "nofile=x", "--error-fd", "%", "--", "true"})).error_number ==
          EINVAL);
    CHECK(failure(run({"--limit", "speed=1", "--error-fd", "%", "--", "true"})).error_number ==
          EINVAL);
}

TEST_CASE("init --exec: capabilities and no new privileges") {
    if (geteuid() != 0) {
        muster::test::skip("needs root to become others");
        return;
    }
    std::string show = "sed -n 's/^\\(CapEff\\|CapBnd\\|NoNewPrivs\\):.//p' /proc/self/status";
    std::string two = "0000000000000401\n0000000000000401\n";
    CHECK(run({"--capabilities", "chown,CAP_NET_BIND_SERVICE", "--", "sh", "-c", show}).output ==
          two + "0\n");
    CHECK(run({"--user", "nobody", "--capabilities", "chown,net_bind_service",
               "--no-new-privileges", "yes", "--", "sh", "-c", show})
              .output == two + "1\n");
    CHECK(run({"--capabilities", "", "--", "sh", "-c", show}).output ==
          "0000000000000000\n0000000000000000\n0\n");
    CHECK(std::string(
              failure(run({"--capabilities", "fly", "--error-fd", "%", "--", "true"})).step) ==
          "find capability fly");
}

TEST_CASE("init --exec: mounts of its own") {
    if (geteuid() != 0) {
        muster::test::skip("needs root to mount");
        return;
    }
    std::string folder = "/var/muster-exec-" + std::to_string(getpid());
    REQUIRE(system(("mkdir -p " + folder + "/a/b " + folder + "/secret && echo x >" + folder +
                    "/secret/key && echo y >" + folder + "/key")
                       .c_str()) == 0);
    Outcome outcome = run({"--read-only", folder, "--writable", folder + "/a/b", "--hidden",
                           folder + "/secret", "--hidden", folder + "/key", "--private", "tmp",
                           "--hidden", "-/no/such", "--", "sh", "-c",
                           "cd " + folder +
                               "; touch x 2>/dev/null || echo read-only; touch a/b/c && echo "
                               "writable; ls secret; cat key; ls -A /tmp; touch /tmp/mine"});
    CHECK(outcome.output == "read-only\nwritable\n");
    CHECK(access((folder + "/a/b/c").c_str(), F_OK) == 0);
    CHECK(access((folder + "/secret/key").c_str(), F_OK) == 0);
    CHECK(access("/tmp/mine", F_OK) != 0);
    // All of it, and yet one folder.
    CHECK(run({"--read-only", "/", "--writable", folder, "--", "sh", "-c",
               "touch /var/x 2>/dev/null || echo read-only; touch " + folder + "/x && echo yes"})
              .output == "read-only\nyes\n");
    CHECK(std::string(
              failure(run({"--hidden", folder + "/no", "--error-fd", "%", "--", "true"})).step) ==
          "find " + folder + "/no");
    REQUIRE(system(("rm -r " + folder).c_str()) == 0);
}

TEST_CASE("init --exec: another root") {
    if (geteuid() != 0) {
        muster::test::skip("needs root to change it");
        return;
    }
    std::string root = "/var/muster-root-" + std::to_string(getpid());
    // A shell and what it needs.
    REQUIRE(system(("mkdir -p " + root +
                    "/home && cd / && { echo /bin/sh; ldd /bin/sh | "
                    "grep -o '/[^ ]*'; } | xargs -I{} cp -L --parents {} " +
                    root)
                       .c_str()) == 0);
    Outcome outcome = run({"--root", root, "--read-only", "/home", "--dir", "/home", "--",
                           "/bin/sh", "-c", "pwd; echo /*; echo >x || echo read-only"});
    CHECK(outcome.output.starts_with("/home\n/bin /home /lib"));
    CHECK(outcome.output.ends_with("read-only\n"));
    CHECK(outcome.output.find("/etc") == std::string::npos);
    REQUIRE(system(("rm -r " + root).c_str()) == 0);
}

TEST_CASE("init --exec: namespaces") {
    if (geteuid() != 0) {
        muster::test::skip("needs root to make them");
        return;
    }
    std::string names = "for n in net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done";
    std::string ours = run({"--", "sh", "-c", names}).output;
    std::string theirs =
        run({"--namespaces", "net,ipc,uts,mount,cgroup", "--", "sh", "-c", names}).output;
    REQUIRE(ours.size() > 50);
    for (std::size_t at = 0; at < ours.size();) {
        std::string line = ours.substr(at, ours.find('\n', at) - at);
        CHECK(theirs.find(line) == std::string::npos);
        at += line.size() + 1;
    }
    // Only the loopback interface, and that works.
    CHECK(run({"--namespaces", "net", "--", "sh", "-c",
               "tail -n +3 /proc/self/net/dev | cut -d: -f1; cat /sys/class/net/lo/operstate; grep "
               "-c 127.0.0.1 /proc/self/net/fib_trie"})
              .output.starts_with("    lo\n"));
    CHECK(std::string(
              failure(run({"--namespaces", "space", "--error-fd", "%", "--", "true"})).step) ==
          "find namespace space");
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
