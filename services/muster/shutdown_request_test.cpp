#include "services/muster/shutdown_request.h"

#include "init/base/catch.h"

using namespace muster;
using namespace muster::command;
using What = ShutdownRequest::What;
using When = ShutdownRequest::When;

namespace {

ShutdownRequest parsed(std::string_view name, const std::vector<std::string>& words) {
    auto request = parse_shutdown(name, words);
    REQUIRE(request.ok());
    return *request;
}

} // namespace

TEST_CASE("shutdown: as people write it") {
    auto later = parsed("shutdown", {"-r", "+5", "new", "kernel"});
    CHECK(later.what == What::reboot);
    CHECK(later.when == When::minutes);
    CHECK(later.minutes == 5);
    CHECK(later.message == "new kernel");

    CHECK(parsed("shutdown", {"-h", "now"}).what == What::poweroff);
    CHECK(parsed("shutdown", {"-h", "now"}).when == When::now);
    CHECK(parsed("shutdown", {"-H", "now"}).what == What::halt);
    CHECK(parsed("shutdown", {"-P", "+0"}).when == When::now);
    auto evening = parsed("shutdown", {"-P", "23:05"});
    CHECK(evening.when == When::time_of_day);
    CHECK(evening.hour == 23);
    CHECK(evening.minute == 5);
    // as with systemd: power off, in a minute
    CHECK(parsed("shutdown", {}).minutes == 1);
    CHECK(parsed("shutdown", {"-c", "not", "today"}).what == What::cancel);
    CHECK(parsed("shutdown", {"-c", "not", "today"}).message == "not today");
    CHECK(parsed("shutdown", {"-k", "+1", "be warned"}).only_wall);
    CHECK(parsed("shutdown", {"-t", "3", "-rf", "now"}).what == What::reboot);
    CHECK_FALSE(parsed("shutdown", {"-rf", "now"}).force);
    // Options after the time, as with getopt.
    CHECK(parsed("shutdown", {"now", "-r"}).what == What::reboot);
    CHECK(parsed("shutdown", {"+1", "-k", "be", "warned"}).only_wall);
    CHECK(parsed("shutdown", {"now", "see", "you", "-r"}).message == "see you");
    CHECK(parsed("shutdown", {"now", "--help"}).what == What::help);
    CHECK(parsed("shutdown", {"-h", "--", "now", "-r"}).message == "-r");
    CHECK(parsed("shutdown", {"-h", "--", "now", "-r"}).what == What::poweroff);
}

TEST_CASE("shutdown: as tools call it") {
    // QEMU's guest agent, an ACPI script, Vagrant
    auto agent = parsed("shutdown", {"-h", "-P", "+0", "hypervisor initiated shutdown"});
    CHECK(agent.what == What::poweroff);
    CHECK(agent.when == When::now);
    CHECK(agent.message == "hypervisor initiated shutdown");
    CHECK(parsed("shutdown", {"-h", "-H", "now"}).what == What::halt);
    CHECK(parsed("poweroff", {"-f"}).force);
    CHECK(parsed("reboot", {"--force", "--no-sync"}).sync == false);
    CHECK(parsed("halt", {"-p"}).what == What::poweroff);
    CHECK(parsed("reboot", {"-d", "2", "-w"}).what == What::nothing);
    CHECK(parsed("telinit", {"0"}).what == What::poweroff);
    CHECK(parsed("telinit", {"-t", "5", "6"}).what == What::reboot);
    CHECK(parsed("telinit", {"S"}).what == What::single);
    CHECK(parsed("telinit", {"q"}).what == What::reload);
    CHECK(parsed("telinit", {"u"}).what == What::upgrade);
}

TEST_CASE("shutdown: what cannot be meant is refused") {
    CHECK_FALSE(parse_shutdown("shutdown", {"tomorrow"}).ok());
    CHECK_FALSE(parse_shutdown("shutdown", {"24:00"}).ok());
    CHECK_FALSE(parse_shutdown("shutdown", {"1:5"}).ok());
    CHECK_FALSE(parse_shutdown("shutdown", {"+-1"}).ok());
    CHECK_FALSE(parse_shutdown("shutdown", {"-x", "now"}).ok());
    CHECK_FALSE(parse_shutdown("poweroff", {"now"}).ok());
    CHECK_FALSE(parse_shutdown("reboot", {"-c"}).ok());
    CHECK_FALSE(parse_shutdown("telinit", {"7"}).ok());
    CHECK_FALSE(parse_shutdown("telinit", {}).ok());
    CHECK_FALSE(parse_shutdown("telinit", {"0", "6"}).ok());
}
