// The watcher on real files, with the real event loop.

#include "init/config/watcher.h"

#include "init/config/file_tree.h"
#include "init/config/watcher_site.h"

using namespace muster;
using namespace muster::config;
using Facts = std::set<std::string>;

TEST_CASE("paths sort depth first, by name") {
    Paths paths{"/d/b.pr", "/d/a.pr", "/d/a/x.pr", "/d/ab/x.pr", "/d/a/b/c.pr"};
    CHECK(Strings(paths.begin(), paths.end()) ==
          Strings{"/d/a/b/c.pr", "/d/a/x.pr", "/d/a.pr", "/d/ab/x.pr", "/d/b.pr"});
}

TEST_CASE("the first scan: scripts only, depth first by name, then ready") {
    Site site;
    site.folder.make("sub");
    site.folder.make(".hidden");
    site.folder.write("b.pr", "<b> ! <order b>");
    site.folder.write("sub/a.pr", "<sub-a> ! <order sub-a>");
    site.folder.write("a.pr", "<a> ! <order a>");
    site.folder.write(".c.pr", "<hidden>");
    site.folder.write("c.pr~", "<backup>");
    site.folder.write("c.txt", "<other>");
    site.folder.write(".hidden/c.pr", "<hidden>");
    site.watch();
    CHECK(site.ready);
    CHECK(site.reports.empty());
    CHECK(site.world.facts == Facts{"<a>", "<b>", "<sub-a>"});
    Strings order;
    for (const std::string& event : site.world.events) {
        if (event.starts_with("!")) order.push_back(event);
    }
    CHECK(order == Strings{"!<order a>", "!<order b>", "!<order sub-a>"});
    site.stop();
    CHECK(site.world.facts.empty());
}

TEST_CASE("files are added, changed, deleted") {
    Site site;
    site.watch();
    CHECK(site.ready);
    site.folder.write("a.pr", "<a 1> <same>");
    CHECK(site.until_fact("<a 1>"));
    site.world.events.clear();
    site.folder.write("a.pr", "<a 2> <same>");
    CHECK(site.until_gone("<a 1>"));
    CHECK(site.world.events == Strings{"+<a 2>", "-<a 1>"});
    site.folder.remove("a.pr");
    CHECK(site.until([&] { return site.world.facts.empty(); }));
    CHECK(site.reports.empty());
}

TEST_CASE("what is derived does not blink when its file changes") {
    Site site;
    site.world.add("<x 1>");
    site.world.add("<y>");
    site.folder.write("a.pr", "? <x ?n> [ <b $n> ? <y> <deep $n> ]");
    site.watch();
    REQUIRE(site.until_fact("<deep 1>"));
    site.world.events.clear();
    site.folder.write("a.pr", "<new> ? <x ?n> [ <b $n> ? <y> [ <deep $n> <deeper $n> ] ]");
    CHECK(site.until_fact("<deeper 1>"));
    CHECK(site.world.events == Strings{"+<new>", "+<deeper 1>"});
}

TEST_CASE("saving the same again restarts nothing, also with other comments") {
    Site site;
    site.folder.write("a.pr", "<a> ! <started> ? <x> <no $y>");
    site.watch();
    site.world.events.clear();
    site.folder.write("a.pr", "<a> ! <started> ? <x> <no $y>");
    site.catch_up();
    site.folder.write("a.pr", "# says the same\n<a>\n! <started>\n? <x>\n<no $y>\n");
    site.catch_up();
    CHECK(site.world.events.empty());
    // Messages name the places as they are now.
    site.world.add("<x>");
    CHECK(site.reports == Strings{"DIR/a.pr:5:5: undefined variable $y"});
}

TEST_CASE("the last good version stays in force while there is an error") {
    Site site;
    site.folder.write("a.pr", "<a 1>");
    site.folder.write("b.pr", "<b>");
    site.watch();
    site.world.events.clear();
    site.folder.write("a.pr", "<a 2>\n? <b> [\n  <c\n");
    CHECK(site.until([&] { return !site.reports.empty(); }));
    CHECK(site.reports[0].starts_with("DIR/a.pr:3:3: "));
    CHECK(site.world.has("<a 1>"));
    std::string error = "<config-error \"" + site.folder.at("a.pr") + "\" 3 3 ";
    CHECK(site.world.events.size() == 1);
    CHECK(site.world.events[0].starts_with("+" + error));
    // Another kind of error: a bad instruction.
    site.folder.write("a.pr", "<a 2>\n? <b> oops");
    CHECK(site.until([&] { return site.reports.size() == 2; }));
    CHECK(site.reports[1].starts_with("DIR/a.pr:2:7: expected an instruction ("));
    CHECK(site.world.has("<a 1>"));
    // Put right: the error goes.
    site.folder.write("a.pr", "<a 2>");
    CHECK(site.until_fact("<a 2>"));
    CHECK(site.world.facts == Facts{"<a 2>", "<b>"});
    CHECK_FALSE(site.world.has("-<b>"));
    CHECK(std::count(site.world.events.begin(), site.world.events.end(), "-<b>") == 0);
}

TEST_CASE("an error at first: nothing runs, and the same error is told once") {
    Site site;
    site.folder.write("a.pr", "<a> oops");
    site.watch();
    CHECK(site.ready);
    CHECK(site.reports.size() == 1);
    site.folder.write("a.pr", "<a> oops");
    site.catch_up();
    CHECK(site.reports.size() == 1);
    site.folder.remove("a.pr");
    CHECK(site.until([&] { return site.world.facts.empty() || site.world.facts.size() == 1; }));
    site.catch_up();
    CHECK(site.world.facts.empty());
}

TEST_CASE("a version that stops at once on a run-time error does not replace what runs") {
    Site site;
    site.folder.write("a.pr", "<a 1>");
    site.watch();
    site.folder.write("a.pr", "<a 2>\n<b $undefined>");
    CHECK(site.until([&] { return !site.reports.empty(); }));
    site.catch_up();
    CHECK(site.reports == Strings{"DIR/a.pr:2:4: undefined variable $undefined"});
    std::string error =
        "<config-error \"" + site.folder.at("a.pr") + "\" 2 4 \"undefined variable $undefined\">";
    CHECK(site.world.facts == Facts{"<a 1>", error});
    site.folder.write("a.pr", "<a 1>");
    site.catch_up();
    CHECK(site.world.facts == Facts{"<a 1>"});
}

TEST_CASE("run-time errors stand as long as the version they are in") {
    Site site;
    site.folder.write("a.pr", "<a> ? <x ?n> <b $m>");
    site.watch();
    site.world.add("<x 1>");
    site.world.add("<x 2>");
    CHECK(site.reports == Strings{"DIR/a.pr:1:17: undefined variable $m"});
    std::string error =
        "<config-error \"" + site.folder.at("a.pr") + "\" 1 17 \"undefined variable $m\">";
    CHECK(site.world.has(error));
    CHECK(site.world.has("<a>"));
    site.folder.write("a.pr", "<a> ? <x ?n> <b $n>");
    CHECK(site.until_fact("<b 2>"));
    CHECK_FALSE(site.world.has(error));
}

TEST_CASE("write to a temporary file and rename") {
    Site site;
    site.folder.write("a.pr", "<a 1>");
    site.watch();
    site.folder.write(".a.pr.tmp", "<a 2>");
    site.folder.move(".a.pr.tmp", "a.pr");
    CHECK(site.until_fact("<a 2>"));
    CHECK_FALSE(site.world.has("<a 1>"));
}

TEST_CASE("move away, write anew: the way of some editors") {
    Site site;
    site.folder.write("a.pr", "<a 1> <same>");
    site.watch();
    site.world.events.clear();
    site.folder.move("a.pr", "a.pr~");
    // The watcher sees the file gone before it is written again.
    site.catch_up();
    site.folder.write("a.pr", "<a 2> <same>");
    CHECK(site.until_fact("<a 2>"));
    site.folder.remove("a.pr~");
    site.catch_up();
    CHECK(site.world.events == Strings{"+<a 2>", "-<a 1>"});
    // And if it does not come back, it is gone.
    site.folder.move("a.pr", "a.pr~");
    CHECK(site.until_gone("<a 2>"));
}

TEST_CASE("a file is not read before its writer closes it") {
    Site site;
    site.folder.write("a.pr", "<a 1>");
    site.watch();
    site.world.events.clear();
    Fd fd(open(site.folder.at("a.pr").c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC));
    Fd other(open(site.folder.at("b.pr").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    REQUIRE(write(fd.get(), "<a ", 3) == 3);
    REQUIRE(write(other.get(), "<b ", 3) == 3);
    site.catch_up();
    CHECK(site.world.events.empty());
    CHECK(site.reports.empty());
    REQUIRE(write(fd.get(), "2>", 2) == 2);
    fd.reset();
    CHECK(site.until_fact("<a 2>"));
}

TEST_CASE("renaming a file is one step") {
    Site site;
    site.folder.write("a.pr", "<a>");
    site.watch();
    site.world.events.clear();
    site.folder.move("a.pr", "b.pr");
    site.catch_up();
    CHECK(site.world.events.empty());
    site.folder.remove("b.pr");
    CHECK(site.until_gone("<a>"));
}

TEST_CASE("files that change together change in one turn") {
    Site site;
    site.folder.write("a.pr", "<one 1> <a>");
    site.folder.write("b.pr", "<two 1> <b>");
    site.watch();
    site.world.events.clear();
    // A fact moves from one file to the other.
    site.folder.write("a.pr", "<one 1>");
    site.folder.write("b.pr", "<two 1> <b> <a>");
    site.catch_up();
    CHECK(site.world.events.empty());
    CHECK(site.world.has("<a>"));
}

TEST_CASE("directories come, move and go") {
    Site site;
    site.watch();
    site.folder.make("d");
    site.folder.make("d/e");
    site.folder.write("d/e/a.pr", "<a> let ?dir = scriptdir <dir $dir>");
    CHECK(site.until_fact("<a>"));
    CHECK(site.world.has("<dir \"" + site.folder.at("d/e") + "\">"));
    site.world.events.clear();
    site.folder.move("d", "f");
    CHECK(site.until_fact("<dir \"" + site.folder.at("f/e") + "\">"));
    CHECK(std::count(site.world.events.begin(), site.world.events.end(), "-<a>") == 0);
    // What happens in it is still seen.
    site.folder.write("f/e/b.pr", "<b>");
    CHECK(site.until_fact("<b>"));
    site.folder.make("outside.d");
    site.folder.move("f", ".f");
    CHECK(site.until_gone("<a>"));
    CHECK_FALSE(site.world.has("<b>"));
    site.folder.move(".f", "f");
    CHECK(site.until_fact("<b>"));
    CHECK(std::system(("rm -r " + site.folder.at("f")).c_str()) == 0);
    CHECK(site.until_gone("<b>"));
    CHECK(site.until_gone("<a>"));
    CHECK(site.reports.empty());
}

TEST_CASE("a path that is not there yet") {
    Site site;
    site.watch(site.folder.at("x/y/z"));
    CHECK_FALSE(site.ready);
    CHECK(site.reports == Strings{"DIR/x/y/z: is not there yet; waiting for it"});
    CHECK(site.world.facts.size() == 1);
    site.folder.make("x");
    site.folder.make("x/y");
    CHECK(site.until([&] {
        struct stat about;
        if (stat(site.folder.at("x/y/z").c_str(), &about) != 0) site.folder.make("x/y/z");
        return site.ready;
    }));
    CHECK(site.world.facts.empty());
    site.folder.write("x/y/z/a.pr", "<a>");
    CHECK(site.until_fact("<a>"));
    // It goes, and comes back.
    site.folder.move("x/y/z", "x/y/w");
    CHECK(site.until_gone("<a>"));
    site.folder.move("x/y/w", "x/y/z");
    CHECK(site.until_fact("<a>"));
    CHECK(site.until([&] { return site.world.facts == Facts{"<a>"}; }));
}

TEST_CASE("one file as the path") {
    Site site;
    site.folder.write("single.conf", "<a 1>");
    site.folder.write("other.pr", "<other>");
    site.watch(site.folder.at("single.conf"));
    CHECK(site.ready);
    CHECK(site.world.facts == Facts{"<a 1>"});
    site.folder.write("single.conf", "<a 2>");
    CHECK(site.until_fact("<a 2>"));
    site.folder.write("temporary", "<a 3>");
    site.folder.move("temporary", "single.conf");
    CHECK(site.until_fact("<a 3>"));
    site.folder.remove("single.conf");
    CHECK(site.until_gone("<a 3>"));
    Fd fd(open(site.folder.at("single.conf").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
    REQUIRE(write(fd.get(), "<a 4>", 5) == 5);
    fd.reset();
    CHECK(site.until_fact("<a 4>"));
}

TEST_CASE("links") {
    Site site;
    Folder elsewhere;
    elsewhere.write("target.txt", "<linked>");
    elsewhere.make("tree");
    elsewhere.write("tree/a.pr", "<in-tree>");
    site.watch();
    REQUIRE(symlink(elsewhere.at("target.txt").c_str(), site.folder.at("l.pr").c_str()) == 0);
    CHECK(site.until_fact("<linked>"));
    site.folder.remove("l.pr");
    CHECK(site.until_gone("<linked>"));
    REQUIRE(link(elsewhere.at("target.txt").c_str(), site.folder.at("h.pr").c_str()) == 0);
    CHECK(site.until_fact("<linked>"));
    REQUIRE(symlink(elsewhere.at("tree").c_str(), site.folder.at("tree").c_str()) == 0);
    CHECK(site.until_fact("<in-tree>"));
    site.folder.remove("tree");
    CHECK(site.until_gone("<in-tree>"));
    // A loop is named, and ends.
    REQUIRE(symlink(".", site.folder.at("loop").c_str()) == 0);
    CHECK(site.until([&] { return !site.reports.empty(); }));
    CHECK(site.reports[0].starts_with("DIR/loop: is the same directory as "));
    site.folder.remove("loop");
}

TEST_CASE("what the kernel does not tell is seen when the configuration is reloaded") {
    Site site;
    Folder elsewhere;
    elsewhere.write("target", "<old>");
    site.folder.write("same.pr", "let ?d = dataspace <same $d>");
    REQUIRE(symlink(elsewhere.at("target").c_str(), site.folder.at("l.pr").c_str()) == 0);
    site.watch();
    CHECK(site.world.has("<old>"));
    elsewhere.write("target", "<new>");
    site.world.events.clear();
    site.world.send("<reload-configuration>");
    CHECK(site.until_fact("<new>"));
    CHECK_FALSE(site.world.has("<old>"));
    // Nothing else was touched, and what is watched is watched as before.
    CHECK(site.world.events == Strings{"!<reload-configuration>", "+<new>", "-<old>"});
    site.folder.write("b.pr", "<b>");
    CHECK(site.until_fact("<b>"));
}

TEST_CASE("once the configuration is to be kept, files change nothing") {
    Site site;
    site.folder.write("a.pr", "<a>\n? <more> [<b>]");
    site.watch();
    site.world.send("<keep-configuration>");
    site.folder.write("a.pr", "<c>");
    site.folder.write("new.pr", "<d>");
    site.folder.remove("a.pr");
    for (int i = 0; i < 5; ++i)
        site.loop->run_once(false);
    CHECK(site.world.has("<a>"));
    CHECK_FALSE(site.world.has("<d>"));
    site.world.send("<reload-configuration>");
    site.world.add("<more>");
    CHECK(site.until_fact("<b>"));
    CHECK(site.world.has("<a>"));
    CHECK_FALSE(site.world.has("<d>"));
}

TEST_CASE("every error of a file stands until it is repaired, and each is told once") {
    Site site;
    site.folder.write("a.pr", "<a ?x>\n<b>\n<c _>\n");
    site.watch();
    CHECK(site.reports.size() == 2);
    auto standing = [&] {
        return std::count_if(site.world.facts.begin(), site.world.facts.end(),
                             [](const std::string& fact) { return fact.starts_with("<config-e"); });
    };
    CHECK(standing() == 2);
    CHECK_FALSE(site.world.has("<b>"));
    site.folder.write("a.pr", "<a ?x>\n<b>\n<c>\n");
    CHECK(site.until([&] { return standing() == 1; }));
    CHECK(site.reports.size() == 2);
    site.folder.write("a.pr", "<a>\n<b>\n<c>\n");
    CHECK(site.until_fact("<b>"));
    CHECK(standing() == 0);
}

TEST_CASE("what is no script file is named, and nothing waits for it") {
    Site site;
    REQUIRE(mkfifo(site.folder.at("fifo.pr").c_str(), 0644) == 0);
    site.folder.write("large.pr", "#" + std::string(max_script_size, 'x'));
    site.folder.write("bytes.pr", "<a \xff>");
    REQUIRE(symlink("/nowhere/at/all", site.folder.at("dangling.pr").c_str()) == 0);
    site.folder.write("good.pr", "<good>");
    site.watch();
    CHECK(site.ready);
    CHECK(site.world.has("<good>"));
    REQUIRE(site.reports.size() == 3);
    CHECK(site.reports[0].starts_with("DIR/bytes.pr:1:"));
    CHECK(site.reports[1] == "DIR/fifo.pr: is not a regular file");
    CHECK(site.reports[2] == "DIR/large.pr: is larger than 1 MiB");
}

TEST_CASE("an unreadable file: the last good version stays") {
    Site site;
    site.folder.write("a.pr", "<a 1>");
    site.watch();
    NotRoot not_root(site.folder.path());
    site.folder.write("b.pr", "<a 2>");
    REQUIRE(chmod(site.folder.at("b.pr").c_str(), 0) == 0);
    site.folder.move("b.pr", "a.pr");
    CHECK(site.until([&] { return !site.reports.empty(); }));
    CHECK(site.reports == Strings{"DIR/a.pr: cannot be read: Permission denied"});
    CHECK(site.world.has("<a 1>"));
    REQUIRE(chmod(site.folder.at("a.pr").c_str(), 0644) == 0);
    CHECK(site.until_fact("<a 2>"));
}

TEST_CASE("after an overflow everything is looked at again") {
    Folder folder;
    folder.write("a.pr", "<a>");
    folder.write("b.pr", "<b>");
    folder.make("d");
    FileTree tree(folder.path());
    REQUIRE(tree.open());
    CHECK(tree.rescan().changed == Paths{folder.at("a.pr"), folder.at("b.pr")});
    folder.remove("a.pr");
    folder.write("d/c.pr", "<c>");
    // As read_events does it on IN_Q_OVERFLOW; the events above are then stale.
    FileTree::Changes changes = tree.rescan();
    CHECK(changes.changed == Paths{folder.at("b.pr"), folder.at("d/c.pr")});
    CHECK(changes.gone == Paths{folder.at("a.pr")});
    CHECK(tree.read_events().empty());
    folder.write("d/c.pr", "<c>");
    CHECK(tree.read_events().changed == Paths{folder.at("d/c.pr")});
    // A real one: more events than the kernel keeps.
    Fd limit(open("/proc/sys/fs/inotify/max_queued_events", O_RDONLY | O_CLOEXEC));
    char text[32] = {};
    REQUIRE(read(limit.get(), text, sizeof text - 1) > 0);
    long queue = std::strtol(text, nullptr, 10);
    if (queue > 100'000) return;
    for (long i = 0; i < queue; ++i) {
        // Two different ones, so that they are not merged into one.
        folder.write(i % 2 ? "b.pr" : "noise", "<b>");
    }
    folder.write("late.pr", "<late>");
    Paths seen;
    while (seen.count(folder.at("late.pr")) == 0) {
        FileTree::Changes more = tree.read_events();
        if (more.empty()) break;
        seen.merge(more.changed);
    }
    CHECK(seen == Paths{folder.at("b.pr"), folder.at("d/c.pr"), folder.at("late.pr")});
}
