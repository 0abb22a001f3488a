#include "services/system/bus_access.h"

#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "init/base/catch.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/pattern.h"
#include "init/protocol/relay_listener.h"
#include "services/daemon/window.h"

using namespace muster;
using namespace muster::services;
using dataspace::CapRef;
using dataspace::Turn;
using preserves::Value;
namespace pat = muster::dataspace::pattern;

namespace {

constexpr uid_t nobody = 65'534;
constexpr uid_t daemon_user = 1;

// A bus over a real socket.
struct World {
    std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
    dataspace::Engine engine;
    CapRef config = dataspace::spawn_dataspace(engine, "config");
    CapRef status = dataspace::spawn_dataspace(engine, "status");
    Ref<dataspace::Facet> facet;
    dataspace::KeepAlive keep;
    std::unique_ptr<BusAccess> access;
    std::vector<std::string> reports;
    std::string folder;
    std::string path;

    explicit World(uid_t owner = 0) {
        signal(SIGPIPE, SIG_IGN);
        char name[] = "/tmp/muster-bus-XXXXXX";
        folder = mkdtemp(name);
        chmod(folder.c_str(), 0755);
        path = folder + "/bus";
        engine.spawn("test", [&](Turn& turn) {
            facet = Ref<dataspace::Facet>(&turn.current());
            keep = dataspace::KeepAlive(facet);
            access = std::make_unique<BusAccess>(
                config, spawn_window(turn, status, BusAccess::max_seen), owner);
            protocol::RelayListeners options;
            options.bus = config;
            options.admit_to_bus = [this](int socket) { return access->admit(socket); };
            options.report = [this](const std::string& line) { reports.push_back(line); };
            protocol::serve_relay_listeners(turn, *loop, config, options);
            Value address = preserves::record("unix", {preserves::string(path)});
            Value listener =
                preserves::record("relay-listener", {address, dataspace::embed(config)});
            turn.assert_(config, preserves::record("run-service", {listener}));
            auto fact = [&](const CapRef& space, std::string_view word) {
                turn.assert_(space, preserves::record("fact", {preserves::symbol(word)}));
            };
            fact(config, "secret");
            fact(status, "public");
        });
        loop->set_after_round([this] { return engine.run(); });
        rounds();
    }
    ~World() {
        keep = {};
        engine.external(facet, [](Turn& turn) { turn.stop_actor(); });
        rounds();
        rmdir(folder.c_str());
    }
    void rounds() {
        for (int i = 0; i < 30; ++i)
            loop->run_once(false);
    }
    // A connection as the kernel shows one of `user`.
    Fd connect_as(uid_t user) {
        int pair[2];
        REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
        pid_t child = fork();
        if (child == 0) {
            if (setresuid(user, user, user) != 0) _exit(1);
            sockaddr_un address{};
            address.sun_family = AF_UNIX;
            path.copy(address.sun_path, path.size());
            Fd fd(socket(AF_UNIX, SOCK_STREAM, 0));
            if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
                _exit(2);
            alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))] = {};
            char byte = 0;
            iovec part{&byte, 1};
            msghdr message{};
            message.msg_iov = &part;
            message.msg_iovlen = 1;
            message.msg_control = space;
            message.msg_controllen = sizeof space;
            cmsghdr* header = CMSG_FIRSTHDR(&message);
            header->cmsg_level = SOL_SOCKET;
            header->cmsg_type = SCM_RIGHTS;
            header->cmsg_len = CMSG_LEN(sizeof(int));
            int raw = fd.get();
            memcpy(CMSG_DATA(header), &raw, sizeof raw);
            _exit(sendmsg(pair[1], &message, 0) == 1 ? 0 : 3);
        }
        close(pair[1]);
        int status = 0;
        REQUIRE(waitpid(child, &status, 0) == child);
        REQUIRE(status == 0);
        alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))];
        char byte;
        iovec part{&byte, 1};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = space;
        message.msg_controllen = sizeof space;
        REQUIRE(recvmsg(pair[0], &message, MSG_CMSG_CLOEXEC) == 1);
        close(pair[0]);
        int fd;
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
        rounds();
        return Fd(fd);
    }
    std::string talk(const Fd& fd, std::string_view words) {
        (void)send(fd.get(), words.data(), words.size(), MSG_NOSIGNAL);
        std::string answer;
        for (int i = 0; i < 5; ++i) {
            rounds();
            char buffer[65'536];
            ssize_t count = recv(fd.get(), buffer, sizeof buffer, MSG_DONTWAIT);
            if (count > 0) answer.append(buffer, static_cast<size_t>(count));
        }
        return answer;
    }
};

constexpr const char* look = "[[0 <A <Observe <group <rec fact> {0: <bind <_>>}> #:[0 1]> 1>]]";

bool root() {
    if (geteuid() == 0) return true;
    test::skip("needs root");
    return false;
}

} // namespace

TEST_CASE("on the bus root gets $config, and everybody else $status to look at") {
    if (!root()) return;
    World world(daemon_user);
    CHECK(world.talk(world.connect_as(0), look).find("secret") != std::string::npos);
    CHECK(world.talk(world.connect_as(daemon_user), look).find("secret") != std::string::npos);
    Fd other = world.connect_as(nobody);
    std::string seen = world.talk(other, look);
    CHECK(seen.find("public") != std::string::npos);
    CHECK(seen.find("secret") == std::string::npos);
    size_t config = dataspace::assertion_count(*world.config);
    size_t status = dataspace::assertion_count(*world.status);
    world.talk(other, "[[0 <A <RequireService <daemon x>> 2>] [0 <A <fact mine> 3>] "
                      "[0 <M <system poweroff>>] [1 <A <fact mine> 4>] [7 <M x>]]");
    CHECK(dataspace::assertion_count(*world.config) == config);
    CHECK(dataspace::assertion_count(*world.status) == status);
    CHECK(world.talk(other, "[[0 <S #:[0 9]>]]").find("[9, <M #t>]") != std::string::npos);
    // A reference to what it was never given is one to nothing.
    world.talk(other, "[[0 <A <Observe <bind <_>> #:[1 0]> 5>] [0 <A <Observe <_> #:[1 3]> 6>]]");
    CHECK(world.talk(other, "[[0 <S #:[0 9]>]]").find("[9, <M #t>]") != std::string::npos);
}

TEST_CASE("an unprivileged peer of the bus is bounded, and told by what") {
    if (!root()) return;
    World world;
    Fd other = world.connect_as(nobody);
    std::string many = "[";
    for (size_t i = 0; i <= BusAccess::max_assertions; ++i)
        many += "[0 <A <Observe <bind <_>> #:[0 1]> " + std::to_string(i) + ">]";
    CHECK(world.talk(other, many + "]").find("<error \"too many live handles\"") !=
          std::string::npos);
    CHECK(dataspace::assertion_count(*world.status) == 1);
    other = world.connect_as(nobody);
    std::string big(BusAccess::max_packet + 1, ' ');
    CHECK(world.talk(other, "[[0 <M \"" + big).find("packet too large") != std::string::npos);
    other = world.connect_as(nobody);
    CHECK(world.talk(other, "[[0 <M \"" + big + "\">]]").find("packet too large") !=
          std::string::npos);
}

TEST_CASE("an unprivileged peer of the bus cannot have what there is multiplied") {
    if (!root()) return;
    World world;
    // One packet: as many observers as there may be, each with other binds around everything.
    auto observers = [](size_t binds) {
        std::string packet = "[";
        for (size_t i = 0; i < 8; ++i) {
            std::string pattern = "<_>";
            for (size_t k = 0; k < binds + i; ++k)
                pattern = "<bind " + pattern + ">";
            packet += "[0 <A <Observe " + pattern + " #:[0 1]> " + std::to_string(i) + ">]";
        }
        return packet + "[0 <S #:[0 9]>]]";
    };
    CHECK(observers(180).size() < BusAccess::max_packet);
    world.engine.external(world.facet, [&](Turn& turn) {
        for (int i = 0; i < 117; ++i)
            turn.assert_(world.status,
                         preserves::record("load", {preserves::integer(i),
                                                    preserves::string(std::string(200, 'x'))}));
    });
    world.rounds();
    Fd other = world.connect_as(nobody);
    std::string told = world.talk(other, observers(180));
    CHECK(told.find("<error \"too many binds in a pattern: more than 16\" #f>") !=
          std::string::npos);
    CHECK(told.find("[9, <M #t>]") != std::string::npos);
    CHECK(told.size() < 1'000);
    // With as many as there may be, no more than the bound leaves.
    other = world.connect_as(nobody);
    std::string text = observers(9);
    CHECK(send(other.get(), text.data(), text.size(), MSG_NOSIGNAL) > 0);
    told.clear();
    while (told.find("[9, <M #t>]") == std::string::npos) {
        std::string more = world.talk(other, "");
        REQUIRE_FALSE(more.empty());
        told += more;
    }
    CHECK(told.find("<error \"too much to look at: more than") != std::string::npos);
    CHECK(told.size() < BusAccess::max_seen);
}

TEST_CASE("no user can have more than so many connections to the bus, but for root") {
    if (!root()) return;
    World world;
    std::vector<Fd> all;
    for (size_t i = 0; i < BusAccess::max_per_user; ++i)
        all.push_back(world.connect_as(nobody));
    CHECK(world.talk(all.back(), look).find("public") != std::string::npos);
    Fd refused = world.connect_as(nobody);
    CHECK(world.talk(refused, look) == "<error \"too many connections of user 65534\" #f>\n");
    CHECK(world.talk(world.connect_as(daemon_user), look).find("public") != std::string::npos);
    all.pop_back();
    world.rounds();
    CHECK(world.talk(world.connect_as(nobody), look).find("public") != std::string::npos);
    for (uid_t user = 1000; all.size() < BusAccess::max_others; ++user)
        for (size_t i = 0; i < BusAccess::max_per_user && all.size() < BusAccess::max_others; ++i)
            all.push_back(world.connect_as(user));
    refused = world.connect_as(daemon_user);
    CHECK(world.talk(refused, look) ==
          "<error \"too many connections of users that are not root\" #f>\n");
    CHECK(world.talk(world.connect_as(0), look).find("secret") != std::string::npos);
    all.clear();
    world.rounds();
    CHECK(world.talk(world.connect_as(nobody), look).find("public") != std::string::npos);
    world.rounds();
    CHECK(dataspace::assertion_count(*world.status) == 1); // nobody looks any more
}
