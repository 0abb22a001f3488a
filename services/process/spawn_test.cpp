#include "services/process/spawn.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <vector>

#include "init/base/catch.h"

using namespace muster;
using namespace muster::services;

namespace {

struct Pipe {
    Fd read, write;
    Pipe() {
        int ends[2];
        REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
        read.reset(ends[0]);
        write.reset(ends[1]);
    }
    std::string drain() {
        write.reset();
        std::string text;
        char buffer[4096];
        for (ssize_t size; (size = ::read(read.get(), buffer, sizeof buffer)) > 0;)
            text.append(buffer, static_cast<size_t>(size));
        return text;
    }
};

int wait_status(pid_t pid) {
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    return status;
}

// A folder of its own, removed at the end.
struct Folder {
    std::string path = "/tmp/muster-spawn-XXXXXX";
    std::vector<std::string> files;
    Folder() { REQUIRE(::mkdtemp(path.data()) != nullptr); }
    ~Folder() {
        for (const std::string& file : files)
            ::unlink(file.c_str());
        ::rmdir(path.c_str());
    }
    std::string add(const std::string& name, const std::string& text, mode_t mode) {
        std::string file = path + "/" + name;
        Fd out(::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, mode));
        REQUIRE(::write(out.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
        files.push_back(file);
        return file;
    }
};

struct Outcome {
    std::string output;
    std::string failure;
    int status = -1;
    pid_t pid = 0;
};

Outcome run(Spawner& spawner, SpawnRequest request) {
    Pipe output;
    request.standard_output = output.write.get();
    auto spawned = spawner.spawn(request);
    REQUIRE(spawned.ok());
    CHECK(spawned->pidfd.valid());
    Outcome outcome;
    outcome.output = output.drain();
    outcome.failure = spawned->failure.message;
    outcome.pid = spawned->pid;
    outcome.status = wait_status(spawned->pid);
    return outcome;
}

SpawnRequest shell(const std::string& script) {
    SpawnRequest request;
    request.argv = {"sh", "-c", script};
    request.environment = {"PATH=" + std::string(default_path), "GREETING=hello"};
    return request;
}

} // namespace

TEST_CASE("spawn: a process with the environment, directory and session it was given") {
    // The same, whatever the kernel lets us use.
    for (auto ways :
         {Spawner::Ways{true, true}, Spawner::Ways{true, false}, Spawner::Ways{false, false}}) {
        auto spawner = Spawner::create(ways);
        REQUIRE(spawner.ok());
        SpawnRequest request = shell("echo $GREETING; pwd; umask; read x || echo eof;"
                                     "set -- $(cat /proc/self/stat); echo $6; exit 3");
        request.directory = "/usr";
        auto outcome = run(*spawner, request);
        CHECK(outcome.failure.empty());
        // Field 6 of stat is the session, which is the shell's own.
        CHECK(outcome.output == "hello\n/usr\n0022\neof\n" + std::to_string(outcome.pid) + "\n");
        CHECK(WIFEXITED(outcome.status));
        CHECK(WEXITSTATUS(outcome.status) == 3);
    }
}

TEST_CASE("spawn: default signals, an empty mask, and only the given descriptors") {
    // As a parent that used glibc's posix_spawn leaves it to us.
    constexpr int libc_own = 33;
    uint64_t ignored[4] = {reinterpret_cast<uintptr_t>(SIG_IGN)}, found[4];
    REQUIRE(::syscall(SYS_rt_sigaction, libc_own, ignored, found, sizeof(uint64_t)) == 0);
    auto spawner = Spawner::create();
    REQUIRE(spawner.ok());
    struct sigaction before {
    }, ignore{};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(SIGPIPE, &ignore, &before);
    sigset_t block, old;
    sigemptyset(&block);
    sigaddset(&block, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &block, &old);
    Fd leaked(::open("/dev/null", O_RDONLY)); // not close-on-exec

    SpawnRequest request;
    request.argv = {"sed", "-n", "-E", "/^Sig(Blk|Ign|Cgt)/p", "/proc/self/status"};
    auto signals = run(*spawner, request);
    request.argv = {"ls", "/proc/self/fd"};
    auto descriptors = run(*spawner, request);

    ::sigprocmask(SIG_SETMASK, &old, nullptr);
    ::sigaction(SIGPIPE, &before, nullptr);
    REQUIRE(::syscall(SYS_rt_sigaction, libc_own, found, nullptr, sizeof(uint64_t)) == 0);
    CHECK(signals.output == "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
                            "SigCgt:\t0000000000000000\n");
    CHECK(descriptors.output == "0\n1\n2\n3\n"); // 3 is the listed folder
}

TEST_CASE("spawn: more descriptors, each under its number") {
    auto spawner = Spawner::create();
    REQUIRE(spawner.ok());
    Pipe one, two;
    // Also where one has the number of the other, or its own already.
    SpawnRequest request =
        shell("echo first >&" + std::to_string(two.write.get()) + "; echo second >&" +
              std::to_string(one.write.get()) + "; echo again >&9");
    request.handed = {{one.write.get(), two.write.get()},
                      {two.write.get(), one.write.get()},
                      {one.write.get(), 9}};
    auto outcome = run(*spawner, request);
    CHECK(outcome.status == 0);
    CHECK(one.drain() == "first\nagain\n");
    CHECK(two.drain() == "second\n");
}

TEST_CASE("spawn: the process's own pid in its environment") {
    for (auto ways : {Spawner::Ways{true, true}, Spawner::Ways{false, false}}) {
        auto spawner = Spawner::create(ways);
        REQUIRE(spawner.ok());
        SpawnRequest request = shell("echo $LISTEN_PID $OTHER_PID $$ $GREETING");
        request.pid_variables = {"LISTEN_PID", "OTHER_PID"};
        auto outcome = run(*spawner, request);
        std::string pid = std::to_string(outcome.pid);
        CHECK(outcome.output == pid + " " + pid + " " + pid + " hello\n");
    }
}

TEST_CASE("spawn: process 1 of its own pid namespace") {
    if (::geteuid() != 0) {
        test::skip("needs root to make namespaces");
        return;
    }
    auto spawner = Spawner::create();
    REQUIRE(spawner.ok());
    SpawnRequest request = shell("echo $$ $LISTEN_PID");
    request.pid_namespace = true;
    request.pid_variables = {"LISTEN_PID"};
    auto outcome = run(*spawner, request);
    CHECK(outcome.output == "1 1\n");
    CHECK(outcome.pid > 1);
}

TEST_CASE("spawn: what cannot be executed is said in words") {
    auto spawner = Spawner::create();
    REQUIRE(spawner.ok());
    Folder folder;
    std::string script = folder.add("script", "#! /no/such/shell -e\n", 0755);
    std::string plain = folder.add("plain", "#!/bin/sh\n", 0644);
    std::string noise = folder.add("noise", "hello\n", 0755);
    std::string crlf = folder.add("crlf", "#!/bin/sh\r\n", 0755);
    std::string marked = folder.add("marked", "\xef\xbb\xbf#!/bin/sh\n", 0755);
    std::string through = folder.add("through", "#!" + plain + "\n", 0755);

    auto failure = [&](std::vector<std::string> argv, std::string directory = "/") {
        SpawnRequest request;
        request.argv = std::move(argv);
        request.directory = std::move(directory);
        auto outcome = run(*spawner, request);
        CHECK(WEXITSTATUS(outcome.status) == 127);
        return outcome.failure;
    };
    CHECK(failure({"/no/such/program"}) == "/no/such/program: no such program");
    CHECK(failure({script}) == script + ": interpreter /no/such/shell missing");
    CHECK(failure({plain}) == plain + ": not executable");
    CHECK(failure({noise}).starts_with(noise + ": not a program"));
    CHECK(failure({crlf}).starts_with(crlf + ": its lines end in CR LF"));
    CHECK(failure({marked}).starts_with(marked + ": not a program: a byte order mark"));
    CHECK(failure({through}) == through + ": interpreter " + plain + ": not executable");
    CHECK(failure({folder.path}) == folder.path + ": is a directory");
    CHECK(failure({"./script"}, folder.path) ==
          folder.path + "/./script: interpreter /no/such/shell missing");
    CHECK(failure({"/bin/true"}, "/no/such/folder") ==
          "directory /no/such/folder: No such file or directory");

    // Names are searched before anything is started.
    SpawnRequest request;
    request.argv = {"no-such-program-anywhere"};
    auto spawned = spawner->spawn(request);
    REQUIRE_FALSE(spawned.ok());
    CHECK(spawned.error().message ==
          "no-such-program-anywhere: no such program in " + std::string(default_path));
    request.argv = {"plain"};
    request.path = folder.path;
    spawned = spawner->spawn(request);
    REQUIRE_FALSE(spawned.ok());
    CHECK(spawned.error().message == plain + ": not executable");
}

TEST_CASE("spawn: a child of our parent, its pid where the parent looks for it") {
    // The middle process starts the child and ends; we, its parent, can wait for both. A plain
    // fork: the sanitizers allow this one.
    Pipe report;
    pid_t middle = ::fork();
    REQUIRE(middle >= 0);
    if (middle == 0) {
        auto spawner = Spawner::create();
        pid_t cell = 0;
        SpawnRequest request;
        request.argv = {"sh", "-c", "exit 5"};
        request.child_of_parent = true;
        request.pid_cell = &cell;
        auto spawned = spawner->spawn(request);
        pid_t told[2] = {spawned.ok() ? spawned->pid : -1, cell};
        bool written = ::write(report.write.get(), told, sizeof told) == sizeof told;
        ::_exit(written ? 0 : 1);
    }
    pid_t told[2] = {0, 0};
    REQUIRE(::read(report.read.get(), told, sizeof told) == sizeof told);
    CHECK(wait_status(middle) == 0);
    REQUIRE(told[0] > 0);
    CHECK(told[0] == told[1]);
    CHECK(WEXITSTATUS(wait_status(told[0])) == 5);
}

TEST_CASE("spawn: raising our own limit on descriptors is not inherited") {
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    REQUIRE(before.rlim_max > 600);
    rlimit low{500, before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
    auto spawner = Spawner::create();
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
    REQUIRE(spawner.ok());
    CHECK(run(*spawner, shell("ulimit -n")).output == "500\n");
}

TEST_CASE("spawn: many launched, before it is known how each one goes") {
    for (auto ways :
         {Spawner::Ways{true, true}, Spawner::Ways{true, false}, Spawner::Ways{false, false}}) {
        auto spawner = Spawner::create(ways);
        REQUIRE(spawner.ok());
        struct One {
            Pipe output;
            Spawned spawned;
        };
        std::vector<std::unique_ptr<One>> all;
        for (int i = 0; i < 20; ++i) {
            auto one = std::make_unique<One>();
            SpawnRequest request = shell("echo $GREETING; cat <&7; exit " + std::to_string(i));
            if (i % 5 == 4) request.argv = {"/no/such/" + std::to_string(i)};
            if (i % 5 == 3) request.directory = "/nowhere";
            Pipe more;
            request.handed = {{more.read.get(), 7}};
            request.standard_output = one->output.write.get();
            auto spawned = spawner->launch(std::move(request));
            REQUIRE(spawned.ok());
            one->spawned = std::move(*spawned);
            // What it was given is its own by now, as far as we are concerned.
            one->output.write.reset();
            more.read.reset();
            std::string text = std::to_string(i);
            // Who cannot be executed does not read it.
            if (i % 5 < 3)
                CHECK(::write(more.write.get(), text.data(), text.size()) ==
                      static_cast<ssize_t>(text.size()));
            all.push_back(std::move(one));
        }
        for (int i = 0; i < 20; ++i) {
            One& one = *all[static_cast<size_t>(i)];
            if (one.spawned.flight) one.spawned.failure = spawner->settle(*one.spawned.flight);
            std::string number = std::to_string(i);
            std::string failure;
            if (i % 5 == 4) failure = "/no/such/" + number + ": no such program";
            if (i % 5 == 3) failure = "directory /nowhere: No such file or directory";
            CHECK(one.spawned.failure.message == failure);
            CHECK(one.output.drain() == (failure.empty() ? "hello\n" + number : ""));
            int status = wait_status(one.spawned.pid);
            CHECK(WEXITSTATUS(status) == (failure.empty() ? i : 127));
        }
    }
}

TEST_CASE("spawn: a pipe ends for others once who got it has settled") {
    auto spawner = Spawner::create();
    REQUIRE(spawner.ok());
    Pipe output;
    SpawnRequest request = shell("exec >&-; read x <&2; exit 0");
    request.standard_output = output.write.get();
    Pipe hold;
    request.standard_error = hold.read.get();
    auto spawned = spawner->launch(std::move(request));
    REQUIRE(spawned.ok());
    if (spawned->flight) CHECK(spawner->settle(*spawned->flight).message.empty());
    CHECK(output.drain().empty()); // while the process runs
    hold.write.reset();
    CHECK(wait_status(spawned->pid) == 0);
}
