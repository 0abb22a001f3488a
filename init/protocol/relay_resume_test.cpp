#include <sys/socket.h>
#include <unistd.h>

#include "init/base/catch.h"
#include "init/dataspace/dataspace.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "init/protocol/relay.h"

using namespace muster;
using namespace muster::protocol;

TEST_CASE("a relay that takes over: calls its peer, and hears nothing meant for the one before") {
    auto loop = std::move(*EventLoop::create());
    dataspace::Engine engine;
    loop->set_after_round([&] { return engine.run(); });
    dataspace::CapRef space = dataspace::spawn_dataspace(engine, "space");
    std::vector<std::string> seen;
    engine.spawn("observer", [&](dataspace::Turn& turn) {
        dataspace::observe(turn, space, dataspace::pattern::bind(),
                           [&](dataspace::Turn&, preserves::View captures) {
                               if (!captures.at(0).is_record("Observe", 2))
                                   seen.push_back(preserves::to_text(captures.at(0)));
                           },
                           {});
    });
    int ends[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    Fd peer(ends[0]);
    RelayOptions options;
    options.name = "service";
    options.initial_export = space;
    options.text_output = true;
    options.resume = 3;
    auto connection = Connection::start(engine, *loop, Fd(ends[1]), Fd(), std::move(options));
    auto say = [&](std::string_view text) {
        REQUIRE(::write(peer.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
        for (int round = 0; round < 4; ++round)
            loop->run_once(false);
    };
    say("in the middle]]\n[[0 <A old 1>]]\n<resumed 2>\n[[0 <A older");
    char call[64];
    ssize_t size = ::recv(peer.get(), call, sizeof call, MSG_DONTWAIT);
    CHECK(std::string(call, size > 0 ? static_cast<size_t>(size) : 0) == "\n<resume 3>\n");
    CHECK(seen.empty());
    say("\n<resu");
    say("med 3>\n[[0 <A new 1>]]\n");
    CHECK(seen == std::vector<std::string>{"new"});
}
