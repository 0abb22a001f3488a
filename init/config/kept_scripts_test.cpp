#include "init/config/kept_scripts.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "init/base/catch.h"

using namespace muster::config;

namespace {

struct Folder {
    std::string path = "/tmp/muster-kept-XXXXXX";
    Folder() { REQUIRE(::mkdtemp(path.data())); }
    ~Folder() { (void)!::system(("rm -rf " + path).c_str()); }
};

} // namespace

TEST_CASE("kept scripts: the last text of each file is found again, by whoever comes next") {
    Folder folder;
    {
        KeptScripts kept(folder.path, "/etc/a", true);
        CHECK_FALSE(kept.text_of("/etc/a/x.pr"));
        REQUIRE(kept.keep("/etc/a/x.pr", "<one>").ok());
        REQUIRE(kept.keep("/etc/a/x.pr", "<two>").ok());
        REQUIRE(kept.keep("/etc/a/y.pr", "").ok());
        REQUIRE(kept.keep("/etc/a/z.pr", "<gone>").ok());
        kept.forget("/etc/a/z.pr");
    }
    KeptScripts next(folder.path, "/etc/a", false);
    CHECK(next.text_of("/etc/a/x.pr") == "<two>");
    CHECK(next.text_of("/etc/a/y.pr") == "");
    CHECK_FALSE(next.text_of("/etc/a/z.pr"));
    next.keep_only({"/etc/a/y.pr"});
    CHECK_FALSE(next.text_of("/etc/a/x.pr"));
    CHECK(next.text_of("/etc/a/y.pr"));
    CHECK_FALSE(KeptScripts(folder.path, "/etc/b", false).text_of("/etc/a/y.pr"));
}

TEST_CASE("kept scripts: nothing is left of an earlier life of the system") {
    Folder folder;
    REQUIRE(KeptScripts(folder.path, "/etc/a", true).keep("/etc/a/x.pr", "<one>").ok());
    CHECK_FALSE(KeptScripts(folder.path, "/etc/a", true).text_of("/etc/a/x.pr"));
    KeptScripts none;
    REQUIRE(none.keep("/etc/a/x.pr", "<one>").ok());
    CHECK_FALSE(none.text_of("/etc/a/x.pr"));
}

TEST_CASE("kept scripts: what cannot be written is said, and what was there stays") {
    Folder folder;
    KeptScripts kept(folder.path, "/etc/a", true);
    REQUIRE(kept.keep("/etc/a/x.pr", "<one>").ok());
    (void)!::system(("for each in " + folder.path + "/*/*; do mkdir $each.new; done").c_str());
    CHECK_FALSE(kept.keep("/etc/a/x.pr", "<two>").ok());
    CHECK(kept.text_of("/etc/a/x.pr") == "<one>");
}
