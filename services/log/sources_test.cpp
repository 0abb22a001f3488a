#include "services/log/sources.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "init/dataspace/dataspace.h"
#include "services/log/log_testing.h"

using namespace muster;
using namespace muster::logs;
using namespace muster::logs::test;

namespace {

// With a fifo in place of /dev/kmsg: one record in it at a time.
struct World {
    Folder folder;
    std::unique_ptr<EventLoop> loop = new_loop();
    dataspace::Engine engine;
    std::unique_ptr<Journal> journal = open_journal(*loop, folder);
    std::unique_ptr<Sources> sources;
    Fd kernel;
    Fd client{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    std::string line = "<14>noisy: " + std::string(999, 'x');

    World() {
        loop->set_after_round([this] { return engine.run(); });
        const dataspace::CapRef log = dataspace::spawn_dataspace(engine, "log");
        (void)engine.spawn("test", [&](dataspace::Turn& turn) {
            sources = std::make_unique<Sources>(
                engine, *loop, Ref<dataspace::Facet>(&turn.current()), log, *journal);
        });
        loop->run_once(false);
        const std::string records = folder.path + "/kmsg", socket = folder.path + "/log";
        REQUIRE(::mkfifo(records.c_str(), 0600) == 0);
        REQUIRE(sources->take_kernel(records.c_str()).ok());
        kernel.reset(::open(records.c_str(), O_WRONLY | O_CLOEXEC));
        auto made = Sources::make_socket(socket.c_str());
        REQUIRE(made.ok());
        REQUIRE(sources->take_syslog(std::move(*made)).ok());
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        socket.copy(address.sun_path, sizeof address.sun_path - 1);
        REQUIRE(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) ==
                0);
    }

    // Until nothing more is taken. How many were.
    size_t flood() const {
        size_t said = 0;
        for (int rounds = 0; rounds < 20; ++rounds) {
            while (::send(client.get(), line.data(), line.size(), 0) > 0) {
                ++said;
                rounds = 0;
            }
            loop->run_once(false);
        }
        return said;
    }
};

} // namespace

TEST_CASE("sources: who fills the log by syslog waits, and others still have room") {
    World world;
    Writer writer = open_writer(world.folder);
    begin_writing(*world.loop, *world.journal);
    const size_t said = world.flood();
    CHECK(said > 100);
    CHECK(said * world.line.size() < ring_size / 2);
    Reading service(*world.journal, "quiet");
    REQUIRE(service.share.may_read());
    service.say("here\n");
    const std::string_view record = "6,1,1,-;from the kernel\n";
    REQUIRE(::write(world.kernel.get(), record.data(), record.size()) == ssize_t(record.size()));
    world.loop->run_once(true);
    writer.work();
    CHECK(world.folder.lines({"quiet"}) == Strings{"quiet: here"});
    CHECK(world.folder.lines({"kernel"}) == Strings{"kernel: info from the kernel"});
    // What stands in the socket comes when there is room.
    do
        for (int rounds = 0; rounds < 20; ++rounds)
            world.loop->run_once(false);
    while (writer.work());
    CHECK(world.folder.lines({"syslog"}).size() == said);
    CHECK(world.journal->shared().dropped.load() == 0);
}
