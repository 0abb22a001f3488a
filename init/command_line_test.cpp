#include "init/command_line.h"

#include <string>

#include "init/base/catch.h"

using muster::pid1::CommandLine;
using muster::pid1::parse_command_line;

namespace {

CommandLine parsed(std::string_view text) {
    CommandLine line{};
    parse_command_line(text, line);
    return line;
}

} // namespace

TEST_CASE("the kernel command line: words, values, quotes") {
    CommandLine line = parsed("BOOT_IMAGE=/vmlinuz root=/dev/vda1 ro quiet  init=/bin/other "
                              "muster.config=\"/etc/my config\" console=ttyS0\n");
    CHECK(line.quiet);
    CHECK_FALSE(line.emergency);
    CHECK(std::string(line.init) == "/bin/other");
    CHECK(std::string(line.config) == "/etc/my config");
    CHECK(parsed("emergency").emergency);
    CHECK_FALSE(parsed("xemergency emergencyx init muster.config").emergency);
    CHECK_FALSE(parsed("quiet=1").quiet);
    CHECK(parsed("").init[0] == 0);
}

TEST_CASE("the last setting counts, one that is too long does not") {
    CHECK(std::string(parsed("init=/a init=/b").init) == "/b");
    CommandLine line = parsed("init=" + std::string(5000, 'x') + " quiet");
    CHECK(line.init[0] == 0);
    CHECK(line.overlong);
    CHECK(line.quiet);
    std::string most(muster::records::kPathSize - 1, 'x');
    CHECK(std::string(parsed("init=" + most).init) == most);
}

TEST_CASE("an unfinished quote ends with the line") {
    CHECK(std::string(parsed("init=\"/a b").init) == "/a b");
}
