#include "services/process/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "init/base/catch.h"

using namespace muster;
using namespace muster::services;

namespace {

// An event loop with processes of which we are the parent, with and without control groups.
struct Stage {
    std::unique_ptr<EventLoop> loop;
    SecondStageLink link;
    std::unique_ptr<Processes> processes;

    explicit Stage(bool groups)
        : loop(std::move(*EventLoop::create())), link(std::move(*SecondStageLink::standalone())) {
        auto spawner = Spawner::create();
        REQUIRE(spawner.ok());
        auto tree = groups ? CgroupTree::standalone() : Result<CgroupTree>(CgroupTree());
        processes = std::make_unique<Processes>(*loop, link, std::move(*spawner),
                                                tree.ok() ? std::move(*tree) : CgroupTree());
    }
};

struct Seen {
    std::vector<int> exits;
    int gone = 0;
    Processes::Events events() {
        return {[this](int status) { exits.push_back(status); }, [this] { ++gone; }};
    }
};

struct Pipe {
    Fd read, write;
    Pipe() {
        int ends[2];
        REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
        read.reset(ends[0]);
        write.reset(ends[1]);
    }
    // Blocks for the next few bytes.
    std::string get() {
        char text[256];
        ssize_t size = ::read(read.get(), text, sizeof text);
        return std::string(text, size > 0 ? static_cast<size_t>(size) : 0);
    }
};

SpawnRequest shell(const char* script, int output = -1) {
    SpawnRequest request;
    request.argv = {"sh", "-c", script};
    request.standard_output = output;
    return request;
}

} // namespace

TEST_CASE("process: wait statuses and signal names") {
    CHECK(describe_wait_status(0) == "exit code 0");
    CHECK(describe_wait_status(3 << 8) == "exit code 3");
    CHECK(describe_wait_status(SIGKILL) == "killed by SIGKILL");
    CHECK(describe_wait_status(SIGSEGV | 0x80) == "killed by SIGSEGV (core dumped)");
    CHECK(describe_wait_status(40) == "killed by SIGRTMIN+6");
    CHECK(signal_number("TERM") == SIGTERM);
    CHECK(signal_number("SIGHUP") == SIGHUP);
    CHECK(signal_number("term") == 0);
    CHECK(signal_number("SIGRTMIN+3") == 37);
    CHECK(signal_number("RTMIN") == 34);
    CHECK(signal_number("RTMAX-1") == 63);
    for (const char* wrong : {"RTMIN+31", "RTMAX-31", "RTMIN-1", "RTMIN+", "RTMIN+a", "RTMAX+1"})
        CHECK(signal_number(wrong) == 0);
    CHECK(signal_name(37) == "RTMIN+3");
    CHECK(signal_name(33) == "33");
}

TEST_CASE("process: ends are told with their status") {
    for (bool groups : {true, false}) {
        Stage stage(groups);
        Seen code, killed, missing;
        auto one = stage.processes->start("one", shell("exit 7"), code.events());
        auto two = stage.processes->start("two", shell("kill -9 $$"), killed.events());
        SpawnRequest nothing;
        nothing.argv = {"/no/such"};
        auto three = stage.processes->start("three", std::move(nothing), missing.events());
        REQUIRE(one.ok());
        REQUIRE(two.ok());
        REQUIRE(three.ok());
        CHECK(one->failure.message.empty());
        CHECK(three->failure.message == "/no/such: no such program");
        CHECK(stage.processes->count() == 3);
        while (stage.processes->count() > 0)
            stage.loop->run_once(true);
        CHECK(code.exits == std::vector<int>{7 << 8});
        CHECK(killed.exits == std::vector<int>{SIGKILL});
        CHECK(missing.exits == std::vector<int>{127 << 8});
        CHECK(code.gone == 1);
        CHECK(killed.gone == 1);
        CHECK(missing.gone == 1);
        CHECK(one->process->gone());
    }
}

TEST_CASE("process: what outlives the process belongs to its tree") {
    for (bool groups : {true, false}) {
        Stage stage(groups);
        Seen seen;
        Pipe output;
        // The child ignores SIGTERM and goes on when its parent ends.
        auto started = stage.processes->start(
            "tree",
            shell("sh -c 'trap \"\" TERM; echo $$; exec sleep 1000' & exit 0", output.write.get()),
            seen.events());
        REQUIRE(started.ok());
        pid_t child = std::stoi(output.get());
        while (seen.exits.empty())
            stage.loop->run_once(true);
        CHECK(seen.gone == 0);
        CHECK_FALSE(started->process->running());
        started->process->signal(SIGTERM);
        CHECK(::kill(child, 0) == 0);
        started->process->kill();
        while (seen.gone == 0)
            stage.loop->run_once(true);
        CHECK(stage.processes->count() == 0);
        output.write.reset();
        CHECK(output.get().empty()); // end of file: nobody has it any more
    }
}

TEST_CASE("process: a signal reaches the process group") {
    for (bool groups : {true, false}) {
        Stage stage(groups);
        Seen seen;
        Pipe output;
        auto started = stage.processes->start(
            "group", shell("sleep 1000 & echo up; wait", output.write.get()), seen.events());
        REQUIRE(started.ok());
        REQUIRE(output.get() == "up\n");
        output.write.reset();
        started->process->signal(SIGTERM);
        CHECK(output.get().empty()); // both have ended
        while (seen.exits.empty())
            stage.loop->run_once(true);
        CHECK(seen.exits == std::vector<int>{SIGTERM});
        if (!groups) started->process->kill(); // nobody says when the rest has ended
        while (seen.gone == 0)
            stage.loop->run_once(true);
    }
}

TEST_CASE("process: nothing is left when the processes are given up") {
    for (bool groups : {true, false}) {
        Pipe output;
        {
            Stage stage(groups);
            auto started = stage.processes->start(
                "left", shell("echo up; exec sleep 1000", output.write.get()), {});
            REQUIRE(started.ok());
            REQUIRE(output.get() == "up\n");
            output.write.reset();
        }
        CHECK(output.get().empty());
        CHECK(::waitpid(-1, nullptr, WNOHANG) < 0); // no child of ours
    }
}

TEST_CASE("process: under init, ends come as its records and are acknowledged") {
    // We play init; a child of ours is the second stage.
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    Fd ours(ends[0]), theirs(ends[1]);
    Fd memory(::memfd_create("state", MFD_CLOEXEC));
    REQUIRE(::ftruncate(memory.get(), records::kSharedSize) == 0);
    auto* shared = static_cast<records::SharedState*>(
        ::mmap(nullptr, records::kSharedSize, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0));
    REQUIRE(shared != MAP_FAILED);
    shared->magic = records::kMagic;
    shared->version = records::kVersion;
    shared->slot_count = records::kSlots;

    records::Record welcome = records::make_record(records::Kind::welcome);
    iovec data{&welcome, sizeof welcome};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(sizeof(int));
    int fd = memory.get();
    std::memcpy(CMSG_DATA(part), &fd, sizeof fd);
    REQUIRE(::sendmsg(ours.get(), &message, 0) == sizeof welcome);

    pid_t stage = ::fork();
    REQUIRE(stage >= 0);
    if (stage == 0) {
        ours.reset();
        auto loop = EventLoop::create();
        auto link = SecondStageLink::connect(theirs.release());
        if (!loop.ok() || !link.ok()) ::_exit(10);
        auto processes = Processes::create(**loop, *link);
        if (!processes.ok()) ::_exit(11);
        int status = -1;
        bool gone = false;
        auto started = (*processes)
                           ->start("daemon x", shell("exit 9"),
                                   {[&](int wait) { status = wait; }, [&] { gone = true; }});
        if (!started.ok()) ::_exit(12);
        auto watch = (*loop)->watch(link->fd(), EPOLLIN, [&](uint32_t) {
            auto received = link->receive();
            if (received.ok() && *received)
                (void)(*processes)->on_status((*received)->record.payload.status);
        });
        while (!gone)
            (*loop)->run_once(true);
        ::_exit(WEXITSTATUS(status));
    }
    theirs.reset();
    auto next = [&] {
        records::Record record;
        REQUIRE(::recv(ours.get(), &record, sizeof record, 0) == sizeof record);
        return record;
    };
    CHECK(next().kind == static_cast<uint16_t>(records::Kind::hello));
    // The process is our child, and we know its pid from the memfd.
    siginfo_t info{};
    REQUIRE(::waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) == 0);
    REQUIRE(info.si_pid != stage);
    CHECK(shared->pids[0] == info.si_pid);
    CHECK(std::string(shared->slots[0].name) == "daemon x");
    records::Record status = records::make_record(records::Kind::status);
    status.payload.status.slot = 0;
    status.payload.status.generation = shared->slots[0].generation;
    status.payload.status.pid = info.si_pid;
    CHECK(::waitpid(info.si_pid, &status.payload.status.wait_status, 0) == info.si_pid);
    REQUIRE(::send(ours.get(), &status, sizeof status, 0) == sizeof status);
    records::Record answer = next();
    CHECK(answer.kind == static_cast<uint16_t>(records::Kind::acknowledge));
    REQUIRE(answer.payload.acknowledge.count == 1);
    CHECK(answer.payload.acknowledge.statuses[0].pid == info.si_pid);
    CHECK(shared->slots[0].state == records::kSlotFree);
    int end = 0;
    CHECK(::waitpid(stage, &end, 0) == stage);
    CHECK(WEXITSTATUS(end) == 9);
    ::munmap(shared, records::kSharedSize);
}
