// What a process asserted, when it ends by itself and may linger: a real shell, killed.
#include "init/preserves/encoder.h"
#include "services/daemon/supervisor_world.h"

using namespace muster;
using namespace muster::services;
using services::test::World;
using Strings = std::vector<std::string>;

namespace {

// A service that asserts `<fact>` in the dataspace granted to it as `facts`, and is ready; from its
// second run on (a file tells) it does only the latter if `once`.
struct Facts {
    World world;
    Strings seen;
    std::string mark;

    Facts(const std::string& fields, bool once) {
        char name[] = "/tmp/muster-linger-XXXXXX";
        int fd = mkstemp(name);
        REQUIRE(fd >= 0);
        close(fd);
        mark = name;
        namespace pattern = dataspace::pattern;
        world.act([&](dataspace::Turn& turn) {
            dataspace::observe(
                turn, world.machine, pattern::record("fact", {}),
                [this](dataspace::Turn&, preserves::View) { seen.push_back("+"); },
                [this](dataspace::Turn&, preserves::View) { seen.push_back("-"); });
            std::string script = "IFS= read -r line; "
                                 "facts=${line#*facts: #:?0, }; facts=${facts%%]*}; "
                                 "config=${line#*config: #:?0, }; config=${config%%]*}; ";
            script += once ? "[ -s " + mark + " ] || " : "";
            script += "echo \"[[$facts <A <fact> 1>]]\"; echo x >" + mark + "; ";
            script += "echo \"[[$config <A <service-state <daemon x> ready> 2>]]\"; read stop";
            preserves::Value spec =
                services::test::parse("{protocol: text/syndicate readyOnStart: #f " + fields + "}");
            preserves::Value grant =
                preserves::dictionary({{"facts", dataspace::embed(world.machine)}});
            preserves::Encoder whole;
            whole.begin_dictionary();
            for (preserves::View item : spec.view().items())
                whole.value(item);
            whole.symbol("argv");
            whole.string(script);
            whole.symbol("grant");
            whole.value(grant);
            whole.end();
            preserves::Value id = preserves::symbol("x");
            turn.assert_(world.config, preserves::record("daemon", {id, *whole.finish()}));
            world.say(turn, "<run-service <daemon x>>");
        });
        world.until([&] { return seen == Strings{"+"}; });
        world.until_state("x ready");
    }
    ~Facts() {
        world.stop("x");
        world.until_gone("x");
        unlink(mark.c_str());
    }
    void kill_it() {
        kill(static_cast<pid_t>(world.number("x", "pid")), SIGKILL);
        world.until([&] { return !world.now.count("x ready"); });
    }
};

} // namespace

TEST_CASE("linger: what the successor asserts again never blinks") {
    Facts facts("linger: 600", false);
    facts.kill_it();
    facts.world.until_state("x ready");
    facts.world.loop->run_once(false);
    CHECK(facts.seen == Strings{"+"});
}

TEST_CASE("linger: what the successor does not assert again goes when it is ready") {
    Facts facts("linger: 600", true);
    facts.kill_it();
    facts.world.until([&] { return facts.seen == Strings{"+", "-"}; });
    CHECK(facts.world.phase("x") == "running");
}

TEST_CASE("linger: not longer than it may, and not without being told to") {
    Facts facts(GENERATE("linger: 0.001", "linger: 0"), true);
    facts.kill_it();
    facts.world.until([&] { return facts.seen == Strings{"+", "-"}; });
}

TEST_CASE("linger: a service that is stopped leaves nothing") {
    Facts facts("linger: 600", false);
    facts.world.stop("x");
    facts.world.until_gone("x");
    facts.world.until([&] { return facts.seen == Strings{"+", "-"}; });
    facts.world.say("<run-service <daemon x>>");
}
