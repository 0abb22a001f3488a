#include <sys/socket.h>
#include <unistd.h>

#include "init/base/catch.h"
#include "init/preserves/text_writer.h"
#include "init/protocol/client.h"

using namespace muster;
using namespace muster::protocol;

namespace {

struct Peer {
    Fd end;
    std::unique_ptr<Client> client;
    std::vector<std::string> ignored;
    int resumed = 0;

    Peer() {
        int ends[2];
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        end.reset(ends[0]);
        client = std::make_unique<Client>(Fd(ends[1]), Fd());
    }
    void says(std::string_view text) {
        REQUIRE(::write(end.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()));
        REQUIRE(client->receive().ok());
    }
    std::string hears() {
        REQUIRE(client->flush().ok());
        char buffer[4096];
        ssize_t size = ::recv(end.get(), buffer, sizeof buffer, MSG_DONTWAIT);
        return std::string(buffer, size > 0 ? static_cast<size_t>(size) : 0);
    }
};

} // namespace

TEST_CASE(
    "client: text, a line a packet; after <resume> all is said anew and the old is forgotten") {
    Peer peer;
    std::vector<std::string> granted;
    peer.client->export_entity(
        {.asserted = [&](const preserves::Value& value,
                         Client::Handle) { granted.push_back(preserves::to_text(value)); },
         .retracted = {},
         .message = {}});
    peer.client->set_resumable([&] { ++peer.resumed; },
                               [&](std::string_view line) { peer.ignored.emplace_back(line); });
    auto handle = peer.client->assert_(peer.client->root(), preserves::symbol("here"));
    int messages = 0;
    peer.client->sync(peer.client->root(), [&] { ++messages; });
    CHECK(peer.hears() == "[[ 0, <A here 1>]]\n[[ 0, <S #:[0 1]>]]\n");
    peer.says("[[0 <A one 1>]]\n");
    CHECK(granted == std::vector<std::string>{"one"});

    // In the middle of a line, both ways.
    peer.client->message(peer.client->root(), preserves::symbol("lost"));
    peer.says("[[0 <A to");
    peer.says("\n<resume 2>\n");
    CHECK(peer.resumed == 1);
    CHECK(peer.ignored == std::vector<std::string>{"[[0 <A to"});
    CHECK(peer.hears() == "\n<resumed 2>\n");
    peer.client->retract(handle); // of before: nothing to retract there
    CHECK(peer.hears().empty());
    peer.says("[[1 <M #t>]]\n"); // the entity of the sync has gone
    CHECK(messages == 0);
    peer.says("[[0 <A two 1>]]\n");
    CHECK(granted == std::vector<std::string>{"one", "two"});
    peer.client->assert_(peer.client->root(), preserves::symbol("again"));
    CHECK(peer.hears() == "[[ 0, <A again 2>]]\n");
}
