#include "init/protocol/listener.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <set>

#include "init/base/catch.h"
#include "init/protocol/sockets.h"

using namespace muster;
using namespace muster::protocol;

namespace {

size_t open_descriptors() {
    DIR* all = opendir("/proc/self/fd");
    REQUIRE(all);
    size_t count = 0;
    while (readdir(all))
        ++count;
    closedir(all);
    return count;
}

} // namespace

TEST_CASE("a listener turns away as many as come, told each, and holds only a few of them") {
    signal(SIGPIPE, SIG_IGN);
    char folder[] = "/tmp/muster-listener-XXXXXX";
    REQUIRE(mkdtemp(folder));
    const std::string path = folder + std::string("/socket");
    std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
    dataspace::Engine engine;
    std::set<std::string> reports;
    ListenerOptions options;
    options.name = "bus";
    options.at_end = [path] { unlink(path.c_str()); };
    options.admit = [](int) -> Result<RelayOptions> { return Error{"too many"}; };
    options.report = [&](const std::string& line) { reports.insert(line); };
    auto socket = listen_unix(path);
    REQUIRE(socket);
    auto listener = Listener::start(engine, *loop, *std::move(socket), std::move(options));
    REQUIRE(listener);
    const preserves::Value address = preserves::record("unix", {preserves::string(path)});
    const size_t before = open_descriptors();
    std::vector<Fd> peers;
    for (size_t i = 0; i < 300; ++i) {
        auto peer = begin_connect(address);
        REQUIRE(peer);
        // What was not read must not take back what is said.
        CHECK(send(peer->get(), "[", 1, MSG_NOSIGNAL) == 1);
        peers.push_back(*std::move(peer));
        for (int round = 0; round < 3; ++round)
            loop->run_once(false);
    }
    CHECK(open_descriptors() == before + peers.size() + 64);
    for (const Fd& peer : peers) {
        char words[64];
        ssize_t size = recv(peer.get(), words, sizeof words, MSG_DONTWAIT);
        CHECK(std::string(words, size > 0 ? static_cast<size_t>(size) : 0) ==
              "<error \"too many\" #f>\n");
    }
    CHECK(reports == std::set<std::string>{"refuse bus: too many"});
    // Who went makes room.
    peers.clear();
    while (open_descriptors() > before)
        loop->run_once(true);
    listener->reset();
    loop->run_once(false);
    rmdir(folder);
}
