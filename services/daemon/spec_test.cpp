#include "services/daemon/spec.h"

#include <signal.h>

#include <algorithm>
#include <fstream>
#include <map>

#include "init/base/catch.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"
#include "services/process/spawn.h"

using namespace muster;
using namespace muster::services;

namespace {

DaemonSpec good(std::string_view text) {
    auto value = preserves::parse_text(text);
    REQUIRE(value.ok());
    auto spec = parse_spec(*value);
    INFO((spec.ok() ? "" : spec.error().message));
    REQUIRE(spec.ok());
    return *spec;
}

std::string bad(std::string_view text) {
    auto value = preserves::parse_text(text);
    REQUIRE(value.ok());
    auto spec = parse_spec(*value);
    REQUIRE_FALSE(spec.ok());
    return spec.error().message;
}

using Strings = std::vector<std::string>;

} // namespace

TEST_CASE("spec: the short forms") {
    DaemonSpec shell = good("\"exec foo -x\"");
    CHECK(shell.argv == Strings{"/bin/sh", "-c", "exec foo -x"});
    CHECK(shell.ready_on_start);
    CHECK(shell.restart == Restart::always);
    CHECK(shell.protocol == Protocol::none);
    CHECK(shell.stop_timeout == 10'000'000'000);
    CHECK(shell.stop_signal == SIGTERM);
    CHECK(good("[\"foo\", \"-x\"]").argv == Strings{"foo", "-x"});
    DaemonSpec once = good("<one-shot [\"foo\"]>");
    CHECK(once.argv == Strings{"foo"});
    CHECK_FALSE(once.ready_on_start);
    CHECK(once.restart == Restart::on_error);
    CHECK(good("<one-shot \"foo\">").argv[2] == "foo");
}

TEST_CASE("spec: every field") {
    DaemonSpec spec = good(R"({argv: ["foo"] env: {A: "1" "B": #f} dir: "/tmp" clearEnv: #t
        readyOnStart: #f restart: never protocol: text/syndicate resume: #t
        grant: {answer: 42} stopTimeout: 0.5 stopSignal: SIGHUP})");
    CHECK(spec.env.size() == 2);
    CHECK(spec.dir == "/tmp");
    CHECK(spec.clear_env);
    CHECK_FALSE(spec.ready_on_start);
    CHECK(spec.restart == Restart::never);
    CHECK(spec.protocol == Protocol::text);
    CHECK(spec.resume);
    CHECK(spec.linger == 5'000'000'000);
    CHECK(good("{argv: \"a\" protocol: text/syndicate linger: 0.5}").linger == 500'000'000);
    CHECK(good("{argv: \"a\" protocol: text/syndicate resume: #t linger: 0}").linger == 0);
    CHECK(good("{argv: \"a\"}").linger == 0);
    CHECK(spec.grant.view().get("answer").as_int() == 42);
    CHECK(spec.stop_timeout == 500'000'000);
    CHECK(spec.stop_signal == SIGHUP);
    CHECK(environment_of(spec, "<daemon x>") == Strings{"A=1"});

    DaemonSpec notify = good("{argv: \"foo\" notify: 3 restart: all stopTimeout: 3}");
    CHECK(notify.notify == 3);
    CHECK_FALSE(notify.ready_on_start);
    CHECK(notify.restart == Restart::all);
    CHECK(notify.stop_timeout == 3'000'000'000);
    CHECK(good("{argv: \"foo\" notify: 3 readyOnStart: #t}").ready_on_start);
}

TEST_CASE("spec: the environment") {
    DaemonSpec spec = good("{argv: \"foo\" env: {TERM: \"dumb\" HOME: #f X: y PATH: \"/opt\"}}");
    Strings environment = environment_of(spec, "<daemon x>");
    CHECK(environment == Strings{"MUSTER_SERVICE=<daemon x>", "X=y", "PATH=/opt", "TERM=dumb"});
    CHECK(path_of(environment) == "/opt");
    CHECK(path_of({}) == default_path);
}

TEST_CASE("spec: what is wrong is named") {
    CHECK(bad("foo") == "the specification is not a string, a list, <one-shot …> or a dictionary");
    CHECK(bad("[]") == "argv: the list is empty");
    CHECK(bad("\" \"") == "argv: the command is empty");
    CHECK(bad("[\"\"]") == "argv: the name of the program is empty");
    CHECK(bad("[1]") == "argv: 1 is not a string");
    CHECK(bad("{}") == "argv: missing");
    CHECK(bad("{argv: \"a\\u0000b\"}") == "argv: a string with a NUL in it");
    CHECK(bad("{argv: 5}") == "argv: 5 is not a string or a list of strings");
    CHECK(bad("{argv: \"a\" env: 1}") == "env: 1 is not a dictionary");
    CHECK(bad("{argv: \"a\" env: {\"A=B\": \"\"}}") ==
          "env: \"A=B\" is not the name of a variable");
    CHECK(bad("{argv: \"a\" env: {A: 1}}") == "A: env: 1 is not a string or #f");
    CHECK(bad("{argv: \"a\" clearEnv: yes}") == "clearEnv: yes is not #t or #f");
    CHECK(bad("{argv: \"a\" restart: often}") ==
          "restart: often is not always, on-error, all or never");
    CHECK(bad("{argv: \"a\" protocol: \"none\"}") ==
          "protocol: \"none\" is not none, application/syndicate or text/syndicate");
    CHECK(bad("{argv: \"a\" notify: 1}") ==
          "notify: 1 is not a descriptor from 3 to 1023, or socket");
    CHECK(bad("{argv: \"a\" stopTimeout: -1}") ==
          "stopTimeout: -1 is not a number of seconds from 0 to 86400");
    CHECK(bad("{argv: \"a\" stopTimeout: #xd\"7ff8000000000000\"}").starts_with("stopTimeout: "));
    CHECK(bad("{argv: \"a\" stopSignal: SIGFOO}") ==
          "stopSignal: SIGFOO is not the name of a signal");
    CHECK(bad("{argv: \"a\" grant: []}") == "grant: [] is not a dictionary");
}

TEST_CASE("spec: each field of the manual is known, and takes no value of another kind") {
    std::ifstream manual("services/muster-service.5.scd");
    REQUIRE(manual);
    Strings names;
    for (std::string line; std::getline(manual, line);)
        for (size_t at = 0; (at = line.find('*', at)) != std::string::npos; ++at) {
            size_t end = line.find(":*", at);
            std::string name = line.substr(at + 1, end - at - 1);
            if (end != std::string::npos && name.find_first_of(" *_") == std::string::npos)
                names.push_back(name);
        }
    CHECK(names.size() >= 45);
    // What is right for one of them.
    const std::map<std::string, Strings> right = {{"-1", {"nice", "oomScore"}},
                                                  {"{nonsense: 1}", {"grant"}}};
    for (const std::string& name : names)
        for (const char* value : {"<nonsense>", "[[]]", "-1", "{nonsense: 1}", "\"\"",
                                  "\"a\\u0000b\"", "#x\"00\"", "99999999999999999999999"}) {
            auto fits = right.find(value);
            if (fits != right.end() && std::count(fits->second.begin(), fits->second.end(), name))
                continue;
            std::string rest = name == "argv" || name == "s6" ? "" : "argv: \"a\" ";
            auto spec = preserves::parse_text("{" + rest + name + ": " + value + "}");
            REQUIRE(spec.ok());
            INFO(name << ": " << value);
            auto parsed = parse_spec(*spec);
            CHECK_FALSE(parsed.ok());
            if (!parsed) CHECK(parsed.error().message.find(name) != std::string::npos);
        }
}

TEST_CASE("spec: what is unknown is an error, with a guess") {
    CHECK(bad("{argv: \"a\" restrat: never}") == "unknown field restrat; is it restart?");
    CHECK(bad("{argv: \"a\" 7: 8}") == "unknown field 7");
    CHECK(bad("{argv: \"a\" \"dir\": \"/\"}") == "unknown field \"dir\"; names have no quotes");
    CHECK(bad("{argv: \"a\" \"dri\": \"/\"}") == "unknown field \"dri\"");
    CHECK(bad("{argv: \"a\" cgroup: {memroy: 5}}") == "cgroup: unknown field memroy");
    CHECK(bad("{argv: \"a\" colour: red}") == "unknown field colour");
}

TEST_CASE("spec: what is said beside it is an error") {
    CHECK(bad("<one-shot \"a\" {restart: never}>") == "<one-shot COMMAND> says no more than that");
    auto value = preserves::parse_text("<daemon x \"a\" {nice: 5}>");
    auto problems = check_assertion(*value);
    REQUIRE(problems.size() == 1);
    CHECK(preserves::to_text(problems[0].first) == "{nice: 5}");
    CHECK(problems[0].second == "<daemon x …>: more than <daemon ID SPEC>");
}

TEST_CASE("spec: what cannot be is said before it is tried") {
    CHECK(bad("{argv: \"a\" dir: \"usr/bin\"}") == "dir: \"usr/bin\" is not an absolute path");
    CHECK(bad("{argv: \"a\" limits: {nofile: [65536 1024]}}") ==
          "limits: nofile: the soft limit is above the hard one");
    CHECK(bad("{argv: \"a\" limits: {nofile: [unlimited 1024]}}") ==
          "limits: nofile: the soft limit is above the hard one");
    for (const char* fine : {"[1024 65536]", "[1024 1024]", "[1024 unlimited]", "7"})
        (void)good(std::string("{argv: \"a\" limits: {nofile: ") + fine + "}}");
}

TEST_CASE("spec: what does not go together") {
    CHECK(bad("{argv: \"a\" resume: #t protocol: application/syndicate}") ==
          "resume: only with protocol: text/syndicate");
    CHECK(bad("{argv: \"a\" s6: \"/a\"}") == "s6: not together with argv");
    CHECK(bad("{argv: \"a\" tty: \"tty1\" stdout: null}").starts_with("tty: "));
    CHECK(bad("{argv: \"a\" protocol: text/syndicate stdin: \"/a\"}") ==
          "stdin: not together with a protocol");
    CHECK(bad("{argv: \"a\" notify: 3 watchdog: 1}") == "watchdog: needs notify: socket");
    CHECK(bad("{argv: \"a\" notify: 3 listen: [<unix \"/a\">]}").starts_with("notify: "));
    CHECK(good("{argv: \"a\" watchdog: 2}").more().notify_socket);
    CHECK(good("{argv: \"a\" watchdog: 2}").ready_on_start);
    CHECK_FALSE(good("{argv: \"a\" watchdog: 2 notify: socket}").ready_on_start);
}

TEST_CASE("spec: the part of the value that is wrong is known") {
    auto value = preserves::parse_text("<daemon x {argv: \"a\" nice: 70 cgroup: {pids: often} "
                                       "groups: [\"a\" #t] wrogn: 1}>");
    REQUIRE(value.ok());
    auto problems = check_assertion(*value);
    REQUIRE(problems.size() == 4);
    View spec = value->view().at(1);
    auto at = [&](View part) {
        for (const auto& [wrong, message] : problems)
            if (wrong.bytes().data() == part.bytes().data()) return message;
        return std::string("nothing");
    };
    CHECK(at(spec.get("nice")) == "<daemon x …>: nice: 70 is not a number from -20 to 19");
    CHECK(at(spec.get("cgroup").get("pids")).starts_with("<daemon x …>: cgroup: pids: often"));
    CHECK(at(spec.get("groups").at(1)) == "<daemon x …>: groups: #t is not a name or a number");
    CHECK(check_assertion(*preserves::parse_text("<daemon x {argv: \"a\"}>")).empty());
    CHECK(check_assertion(*preserves::parse_text("<demon x 7>")).empty());
}

TEST_CASE("spec: sizes, commands, limits of the control group") {
    auto cgroup =
        good("{argv: \"a\" cgroup: {memory: \"64M\" pids: unlimited cpu: 0.5 cpuWeight: 50 "
             "io: {\"/dev/vda\": {rbps: \"1K\" wiops: 7}}}}")
            .more()
            .cgroup;
    auto value = [&](const std::string& file) {
        for (const auto& setting : cgroup)
            if (setting.file == file) return setting.device + setting.value;
        return std::string();
    };
    CHECK(value("memory.max") == "67108864");
    CHECK(value("pids.max") == "max");
    CHECK(value("cpu.max") == "50000 100000");
    CHECK(value("cpu.weight") == "50");
    CHECK(value("io.max") == "/dev/vda rbps=1024 wiops=7");
    CHECK(bad("{argv: \"a\" cgroup: {memory: \"64Q\"}}").starts_with("cgroup: memory: \"64Q\""));
    CHECK(bad("{argv: \"a\" cgroup: {memory: \"99999999T\"}}").starts_with("cgroup: memory: "));
    CHECK(good("{argv: \"a\" log: {size: \"64K\"}}").log.size_kib == 64);
    CHECK(good("{argv: \"a\" log: {size: 8192}}").log.size_kib == 8);
    CHECK(bad("{argv: \"a\" log: {size: \"3K\"}}").starts_with("log: size: \"3K\""));
    CHECK(good("{argv: \"a\" startPre: [\"b\" \"c\"]}").more().start_pre.size() == 1);
    CHECK(good("{argv: \"a\" startPre: [[\"b\" \"c\"] \"d\"]}").more().start_pre.size() == 2);
    CHECK(bad("{argv: \"a\" startPre: []}") == "startPre: the list is empty");
    CHECK(bad("{argv: \"a\" restartLimit: {starts: 3}}").starts_with("restartLimit: "));
    CHECK(bad("{argv: \"a\" health: {interval: 3}}") == "health: command: missing");
    CHECK(bad("{argv: \"a\" success: [256]}").starts_with("success: 256"));
    CHECK(bad("{argv: \"a\" umask: \"1777\"}").starts_with("umask: "));
    CHECK(bad("{argv: \"a\" limits: {speed: 1}}") == "limits: unknown field speed");
    CHECK(bad("{argv: \"a\" capabilities: [fly]}") == "capabilities: fly is not a capability");
    CHECK(bad("{argv: \"a\" listen: [<tcp 1 2>]}").starts_with("listen: 1 is not an IPv4"));
}
