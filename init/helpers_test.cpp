#include "init/helpers.h"

#include <cstdlib>
#include <string>
#include <vector>

#include <unistd.h>

#include "init/base/catch.h"
#include "init/read_lines.h"

using namespace muster::pid1;

namespace {

struct File {
    char path[32] = "/tmp/muster-file-XXXXXX";
    explicit File(const std::string& text) {
        int fd = mkstemp(path);
        REQUIRE(fd >= 0);
        CHECK(write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
        close(fd);
    }
    ~File() { unlink(path); }
};

int password(const std::string& text) { return root_has_password(File(text).path); }

std::vector<std::string> lines_of(const std::string& text) {
    File file(text);
    LineReader lines(file.path);
    std::vector<std::string> all;
    std::string_view line;
    while (lines.next(line))
        all.emplace_back(line);
    return all;
}

} // namespace

TEST_CASE("root has a password if one was ever set, also if it is locked") {
    CHECK(password("bin:x:1\nroot:$6$salt$hash:19000:0:::::\n") == 1);
    CHECK(password("root:!$6$salt$hash:19000:0:::::\n") == 1);
    CHECK(password("root:*:19000:0:::::\n") == 0);
    CHECK(password("root:!:19000:0:::::\n") == 0);
    CHECK(password("root:::0:::::\n") == 0);
    CHECK(password("rooty:$6$salt$hash:1\n") == -1);
    CHECK(password("") == -1);
    CHECK(root_has_password("/no/such/file") == -1);
}

TEST_CASE("lines through a fixed buffer: one that is too long is left out whole") {
    CHECK(lines_of("a\n\nb") == std::vector<std::string>{"a", "", "b"});
    CHECK(lines_of("").empty());
    std::string fits(8000, 'y');
    CHECK(lines_of("a\n" + std::string(50000, 'x') + "\n" + fits + "\nc\n") ==
          std::vector<std::string>{"a", fits, "c"});
    CHECK(lines_of("a\n" + std::string(50000, 'x')) == std::vector<std::string>{"a"});
}
