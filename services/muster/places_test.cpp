#include "services/muster/places.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "init/base/catch.h"
#include "init/preserves/text_reader.h"

using namespace muster;
using namespace muster::command;

namespace {

constexpr const char* script = R"(# what is here
<require-service <daemon sshd>>
<daemon sshd {
    argv: ["/usr/sbin/sshd" "-D"]
}>
<depends-on <daemon sshd> <service-state <daemon keys> up>>
<daemon keys <one-shot "make keys">>
? <console ?tty> [
    <require-service <daemon <getty $tty>>>
    <daemon <getty $tty> ["/sbin/getty" $tty]>
]
? <daemon ?x ?y> [ <require-service <daemon $x>> ]
let ?narrow = <* $config [<rewrite <require-service <daemon sshd>> <other>>]>
<require-service <relay-listener <unix "/run/bus"> $config>>
)";

std::string all(const std::vector<Place>& places) {
    std::string text;
    for (const Place& each : places)
        text += each.shown() + (each.text.empty() ? "" : " " + each.text) + "\n";
    return text;
}

Value parse(const char* text) { return *preserves::parse_text(text); }

} // namespace

TEST_CASE("definitions and demands of a service are found where they stand") {
    Places places;
    places.add("a.pr", script);
    CHECK(all(places.definitions(parse("<daemon sshd>"))) == "a.pr:3 /usr/sbin/sshd -D\n");
    CHECK(all(places.demands(parse("<daemon sshd>"))) == "a.pr:2\n");
    CHECK(all(places.dependencies(parse("<daemon sshd>"))) == "a.pr:6\n");
    CHECK(all(places.definitions(parse("<daemon keys>"))) == "a.pr:7 make keys\n");
    CHECK(all(places.demands(parse("<daemon keys>"))).empty());
}

TEST_CASE("variables in names stand for anything, patterns and caveats define nothing") {
    Places places;
    places.add("a.pr", script);
    CHECK(all(places.definitions(parse("<daemon <getty \"ttyS0\">>"))) ==
          "a.pr:10 /sbin/getty $tty\n");
    CHECK(all(places.demands(parse("<daemon <getty \"ttyS0\">>"))) == "a.pr:9\n");
    CHECK(all(places.demands(parse("<relay-listener <unix \"/run/bus\"> capability>"))) ==
          "a.pr:14\n");
    CHECK(all(places.demands(parse("<relay-listener <unix \"/run/other\"> capability>"))).empty());
    CHECK(all(places.definitions(parse("<daemon other>"))).empty());
    CHECK(all(places.demands(parse("<daemon other>"))).empty());
}

TEST_CASE("folders are read to the bottom; what stands before an error counts") {
    char name[] = "/tmp/muster-places-XXXXXX";
    REQUIRE(mkdtemp(name));
    std::string folder = name;
    auto write = [&](const std::string& file, const char* text) {
        FILE* out = fopen((folder + file).c_str(), "w");
        REQUIRE(out);
        fputs(text, out);
        fclose(out);
    };
    REQUIRE(mkdir((folder + "/sub").c_str(), 0700) == 0);
    write("/sub/x.pr", "<require-service <daemon x>>\n<unfinished [");
    write("/other.txt", "<require-service <daemon x>>");
    Places places = Places::read({folder, folder + "/sub", folder + "/missing"});
    CHECK(all(places.demands(parse("<daemon x>"))) == folder + "/sub/x.pr:1\n");
    for (const char* file : {"/sub/x.pr", "/other.txt"})
        CHECK(unlink((folder + file).c_str()) == 0);
    CHECK(rmdir((folder + "/sub").c_str()) == 0);
    CHECK(rmdir(folder.c_str()) == 0);
}

TEST_CASE("the command of a specification as people type it") {
    CHECK(command_text(parse("<one-shot \"mount -a\">")) == "mount -a");
    CHECK(command_text(parse("{argv: [\"/bin/a\" b], env: {}}")) == "/bin/a b");
    CHECK(command_text(parse("7")).empty());
}
