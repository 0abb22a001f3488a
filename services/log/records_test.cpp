#include "services/log/records.h"

#include "init/base/catch.h"

using namespace muster::logs;

TEST_CASE("log: messages to syslog(3)") {
    CHECK(syslog_line("<34>Oct 11 22:14:15 su[7]: text\n") == "auth.crit su[7]: text");
    CHECK(syslog_line("<13>text") == "user.notice text");
    CHECK(syslog_line("plain") == "user.notice plain");
    CHECK(syslog_line("<999>x") == "user.notice <999>x");
    CHECK(syslog_line("<") == "user.notice <");
    CHECK(syslog_line("") == "user.notice ");
}

TEST_CASE("log: messages of the kernel") {
    KernelMessage message;
    REQUIRE(parse_kernel_message("4,812,5140900,-;usb 1-1: no\n SUBSYSTEM=usb\n", message));
    CHECK(message.sequence == 812);
    CHECK(message.monotonic_us == 5'140'900);
    CHECK(message.line == "warning usb 1-1: no");
    CHECK(message.from_kernel);
    REQUIRE(parse_kernel_message("30,1,2,-,caller=T1;init: a\\x0ab\n", message));
    CHECK(message.line == "daemon.info init: a\nb");
    CHECK_FALSE(message.from_kernel);
    for (const char* bad : {"", "4", "4,1", "4,1,2,-", "x,1,2;a"})
        CHECK_FALSE(parse_kernel_message(bad, message));
}
