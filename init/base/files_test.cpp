#include "init/base/files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init/base/catch.h"
#include "init/base/fd.h"

using namespace muster;

namespace {

std::string text_of(const std::string& path, size_t most = static_cast<size_t>(-1)) {
    std::string text;
    Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(file);
    REQUIRE(read_to_end(file.get(), text, most));
    return text;
}

} // namespace

TEST_CASE("files: replaced as a whole, read to the end or as far as is asked for") {
    std::string folder = "/tmp/muster-files-XXXXXX";
    REQUIRE(::mkdtemp(folder.data()));
    const std::string path = folder + "/file";
    const std::string large(100'000, 'x');
    REQUIRE(replace_file(path, large).ok());
    CHECK(text_of(path) == large);
    const size_t some = text_of(path, 50'000).size();
    CHECK(some > 50'000);
    CHECK(some < large.size());
    REQUIRE(replace_file(path, "").ok());
    CHECK(text_of(path).empty());
    REQUIRE(::mkdir((path + ".new").c_str(), 0700) == 0);
    auto refused = replace_file(path, "again");
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.error().message == path + ".new: Is a directory");
    CHECK(text_of(path).empty());
    std::string text;
    CHECK_FALSE(read_to_end(-1, text));
    CHECK(errno == EBADF);
    CHECK(::rmdir((path + ".new").c_str()) == 0);
    CHECK(::unlink(path.c_str()) == 0);
    CHECK(::rmdir(folder.c_str()) == 0);
}
