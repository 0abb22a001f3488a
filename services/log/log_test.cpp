// Lines from real pipes through the ring into real files, with readers and writers that are killed.
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <sstream>

#include "init/preserves/utf8.h"
#include "services/log/log_testing.h"

using namespace muster;
using namespace muster::logs;
using namespace muster::logs::test;

TEST_CASE("log: lines go from a pipe into the file of their service") {
    Folder folder;
    auto loop = new_loop();
    auto journal = open_journal(*loop, folder);
    Reading a(*journal, "a"), b(*journal, "<getty \"tty1\">");
    a.say("one\ntw");
    b.say("other\n");
    CHECK(a.rest == "tw");
    a.say("o\nthree\n");
    CHECK(a.partial == no_partial);
    Writer writer = open_writer(folder);
    begin_writing(*loop, *journal);
    CHECK(writer.work());
    CHECK_FALSE(writer.work());
    std::string text = folder.text("a.log");
    CHECK(std::count(text.begin(), text.end(), '\n') == 3);
    CHECK(text.find(" stdout[7]: two\n") != std::string::npos);
    CHECK(folder.text("%3Cgetty%20%22tty1%22%3E.log").find(": other\n") != std::string::npos);
    CHECK(folder.lines({"a"}) == Strings{"a: one", "a: two", "a: three"});
    CHECK(folder.lines({"<getty \"tty1\">"}) == Strings{"<getty \"tty1\">: other"});
}

TEST_CASE("log: lines are cut at 8 KiB, not within a character") {
    std::string rest, lines;
    split_lines(rest, "a\n\nb", lines);
    CHECK(lines == "a\n\n");
    split_lines(rest, "\n", lines);
    CHECK(lines == "a\n\nb\n");
    lines.clear();
    std::string text(longest_line - 1, 'x');
    split_lines(rest, text + "\xc3\xa4y\n", lines);
    CHECK(lines == text + "\n\xc3\xa4y\n");
    CHECK(rest.empty());
}

TEST_CASE("log: what is in memory and not in a file is read, too, and once") {
    Folder folder;
    auto loop = new_loop();
    auto journal = open_journal(*loop, folder);
    Reading a(*journal, "a");
    a.say("one\n");
    CHECK(folder.lines() == Strings{"a: one"}); // no folder at all
    Writer writer = open_writer(folder);
    begin_writing(*loop, *journal);
    writer.work();
    a.say("two\n");
    CHECK(folder.lines() == Strings{"a: one", "a: two"});
    writer.work();
    CHECK(folder.lines() == Strings{"a: one", "a: two"});
}

TEST_CASE("log: while nobody writes the newest lines are kept, and it is said how many went") {
    Folder folder;
    auto loop = new_loop();
    auto journal = open_journal(*loop, folder);
    Reading a(*journal, "a");
    std::string text(999, 'x');
    size_t count = 3000;
    for (size_t i = 0; i < count; ++i) {
        REQUIRE(a.share.may_read());
        a.say(std::to_string(i) + text + "\n");
    }
    std::string said;
    journal->set_report([&](const std::string& line) { said = line; });
    uint64_t dropped = journal->shared().dropped.load();
    CHECK(dropped > 0);
    Writer writer = open_writer(folder);
    begin_writing(*loop, *journal);
    CHECK(said == std::to_string(dropped) + " lines were not kept: there was no room for them");
    writer.work();
    Strings lines = folder.lines();
    REQUIRE(lines.size() == count - dropped);
    CHECK(lines.front() == "a: " + std::to_string(dropped) + text);
    CHECK(lines.back() == "a: " + std::to_string(count - 1) + text);
}

TEST_CASE("log: who fills the ring waits, and others still have room") {
    Folder folder;
    auto loop = new_loop();
    auto journal = open_journal(*loop, folder);
    Writer writer = open_writer(folder);
    begin_writing(*loop, *journal);
    Reading noisy(*journal, "noisy"), quiet(*journal, "quiet");
    std::string text(999, 'x');
    size_t said = 0;
    for (; noisy.share.may_read(); ++said)
        noisy.say(text + "\n");
    CHECK(said * 1000 < ring_size / 2);
    CHECK(said > 100);
    CHECK(quiet.share.may_read());
    quiet.say("here\n");
    // Nothing comes before there is room.
    loop->run_once(false);
    CHECK(noisy.spaces == 0);
    writer.work();
    while (noisy.spaces == 0)
        loop->run_once(true);
    CHECK(noisy.share.may_read());
    CHECK(folder.lines({"quiet"}) == Strings{"quiet: here"});
    CHECK(folder.lines({"noisy"}).size() == said);
    CHECK(journal->shared().dropped.load() == 0);
}

TEST_CASE("log: what an ended process had still to be read from outlives us") {
    Folder folder;
    auto loop = new_loop();
    auto journal = open_journal(*loop, folder);
    Writer writer = open_writer(folder);
    begin_writing(*loop, *journal);
    std::map<std::string, Fd> kept;
    FdKeeper keeper{.take = [](const std::string&) { return Fd(); },
                    .store = [&](const std::string& name, int fd) -> Result<> {
                        kept[name] = Fd(::dup(fd));
                        return {};
                    },
                    .drop = [&](const std::string& name) { kept.erase(name); }};
    journal->set_keeper(keeper);
    const std::string service = "<site \"" + std::string(100, 'a') + "\">";
    {
        Rotation rotation{.size_kib = 64, .number = 20};
        Reading noisy(*journal, service, 7, rotation), other(*journal, service, 8, rotation);
        noisy.say("begun");
        std::string filler = std::string(999, 'x') + "\n";
        while (noisy.share.may_read(true))
            noisy.say(filler);
        noisy.pipe.say(" and half\nthe la");
        noisy.pipe.say("st");
        journal->leave(noisy.source, std::move(noisy.pipe.read), noisy.partial, noisy.rest);
        other.pipe.say("other\n");
        journal->leave(other.source, std::move(other.pipe.read), other.partial, other.rest);
    }
    CHECK(kept.size() == 2);
    Left& not_kept_yet = journal->shared().left[journal->shared().left_there++];
    REQUIRE(not_kept_yet.used.load() == 0);
    not_kept_yet.source = Source("other", "stdout", 10);
    not_kept_yet.used.store(1);

    // We are killed; the next one finds what was kept.
    journal.reset();
    loop = new_loop();
    journal = open_journal(*loop, folder);
    journal->set_keeper(keeper);
    std::map<std::string, Fd> before;
    for (const auto& [name, fd] : kept)
        before[name] = Fd(::dup(fd.get()));
    before["log-end 9 stdout"] = Fd(); // had been read to its end
    kept["log-end 9 stdout"] = Fd();
    for (auto& [name, fd] : before)
        journal->take_left(name, std::move(fd));
    CHECK(kept.size() == 2);
    CHECK(journal->took_left(7, "stdout"));
    CHECK_FALSE(journal->took_left(7, "stderr"));
    journal->finish_orphans();
    CHECK_FALSE(journal->took_left(7, "stdout")); // another process may have that number
    // Both wait for room, and are told together.
    while (!kept.empty()) {
        loop->run_once(false);
        writer.work();
    }
    while (writer.work()) {
    }
    Strings lines = folder.lines();
    CHECK(std::count(lines.begin(), lines.end(), service + ": the last") == 1);
    CHECK(std::count(lines.begin(), lines.end(), service + ": other") == 1);
    CHECK(std::count(lines.begin(), lines.end(), service + ": begun") == 0);
    for (const Left& left : journal->shared().left)
        CHECK(left.used.load() == 0);
}

TEST_CASE("log: a writer that does nothing is told, and one that has ended is not waited for") {
    Folder folder;
    auto loop = new_loop();
    auto journal = open_journal(*loop, folder);
    Strings said;
    int restarts = 0;
    journal->set_report([&](const std::string& line) { said.push_back(line); });
    journal->set_stuck([&] { ++restarts; }, 20 * millisecond);
    auto writer = open_writer(folder);
    begin_writing(*loop, *journal);
    Reading fast(*journal, "fast");
    auto fill = [&] {
        while (fast.share.may_read())
            fast.say(std::string(1000, 'x') + "\n");
    };
    fill();
    while (restarts < 2)
        loop->run_once(true);
    CHECK(said.at(0) == "the log writer has written nothing for 0 s: who prints waits; it is "
                        "started again");
    CHECK(fast.spaces == 0);
    // Another one comes: all is well.
    said.clear();
    writer = open_writer(folder);
    while (writer.work()) {
    }
    while (fast.spaces == 0)
        loop->run_once(true);
    CHECK(said.empty());
    // It ends, as it does when it is told to.
    fill();
    fast.spaces = 0;
    journal->shared().wants_to_write.store(0);
    while (fast.spaces == 0)
        loop->run_once(true);
    CHECK(said == Strings{"the log writer has ended: the newest lines are kept in memory"});
    CHECK(fast.share.may_read());
}

TEST_CASE("log: files are rotated by size, by age, and no more are kept than said") {
    Folder folder;
    auto loop = new_loop();
    auto journal = open_journal(*loop, folder);
    Writer writer = open_writer(folder);
    begin_writing(*loop, *journal);
    Rotation rotation{.size_kib = 4, .age_hours = 1, .number = 2};
    Reading a(*journal, "a", 7, rotation);
    std::string text(1000, 'x');
    for (int i = 0; i < 20; ++i) {
        a.say(std::to_string(i) + text + "\n");
        writer.work();
    }
    auto files = log_files(folder.files());
    REQUIRE(files.ok());
    REQUIRE(files->size() == 3);
    CHECK((*files)[0].number + 1 == (*files)[1].number);
    CHECK((*files)[2].number == 0);
    Strings lines = folder.lines();
    REQUIRE(lines.size() >= 8);
    for (size_t i = 0; i < lines.size(); ++i)
        CHECK(lines[i] == "a: " + std::to_string(20 - lines.size() + i) + text);
    // The age of a file is that of its first line.
    folder.put("old.log", "2020-01-01T00:00:00.000000Z stdout: before\n");
    Reading old(*journal, "old", 7, rotation);
    old.say("now\n");
    writer.work();
    CHECK(folder.text("old.log.1") == "2020-01-01T00:00:00.000000Z stdout: before\n");
    CHECK(folder.lines({"old"}) == Strings{"old: before", "old: now"});
}

TEST_CASE("log: what a loss of power left of a line is marked") {
    Folder folder;
    auto loop = new_loop();
    auto journal = open_journal(*loop, folder);
    std::string whole = "2026-01-01T00:00:00.000000Z stdout: whole\n";
    folder.put("a.log", whole + "2026-01-01T00:00:00.000000Z stdout: ha");
    folder.put("b.log", whole + std::string(5000, '\0'));
    Reading a(*journal, "a"), b(*journal, "b");
    a.say("next\n");
    b.say("next\n");
    Writer writer = open_writer(folder);
    begin_writing(*loop, *journal);
    writer.work();
    const char* mark = "what was written last before this was lost";
    CHECK(folder.lines({"a"}) ==
          Strings{"a: whole", "a: ha", std::string("a: ") + mark, "a: next"});
    CHECK(folder.lines({"b"}).size() == 4 - 1);
    CHECK(folder.text("b.log").find('\0') == std::string::npos);
}

TEST_CASE("log: a folder that cannot be used leaves the newest lines in memory") {
    Folder folder;
    auto loop = new_loop();
    auto journal = open_journal(*loop, folder);
    std::ofstream(folder.files()) << "no folder";
    Reading a(*journal, "a");
    a.say("one\n");
    Writer writer = open_writer(folder);
    CHECK_FALSE(writer.work());
    loop->run_once(false);
    CHECK(journal->shared().writing.load() == 0);
    Strings lines;
    REQUIRE(read_logs({folder.files(), folder.path, {}, 0}, [&](const Entry& e) {
                lines.push_back(e.text);
            }).ok());
    CHECK(lines == Strings{"one"});
}

// --- being killed ---

TEST_CASE("log: a reader that is killed at any step loses and doubles nothing") {
    // The child reads and handles what is in the pipe; it is killed after `step` of its steps. A
    // process that dies where it likes stands in the second part.
    for (int incomplete : {0, 1}) {
        Folder folder;
        Pipe pipe;
        pipe.say("one\ntwo\nthr");
        pid_t child = ::fork();
        if (child == 0) {
            auto loop = new_loop();
            auto journal = open_journal(*loop, folder);
            Source source("a", "stdout", 7);
            // Read, and no more: the bytes are nowhere but in the intake.
            (void)!::read(pipe.read.get(), journal->buffer(source, no_partial), intake_size);
            ::kill(::getpid(), SIGKILL);
        }
        int status;
        REQUIRE(::waitpid(child, &status, 0) == child);
        REQUIRE(WIFSIGNALED(status));
        auto loop = new_loop();
        auto journal = open_journal(*loop, folder);
        uint32_t partial = no_partial;
        std::string rest;
        if (incomplete) {
            CHECK_FALSE(journal->resume(8, "stdout", partial, rest));
            CHECK(journal->resume(7, "stdout", partial, rest));
            CHECK(rest == "thr");
            Journal::Share share(*journal, [] {});
            std::memcpy(journal->buffer(Source("a", "stdout", 7), partial), "ee\n", 3);
            journal->take(share, partial, rest, 3, nullptr);
            CHECK(folder.lines() == Strings{"a: one", "a: two", "a: three"});
        } else {
            journal->finish_orphans();
            CHECK(folder.lines() == Strings{"a: one", "a: two", "a: thr"});
        }
    }
}

TEST_CASE("log: readers and writers that are killed at random lose nothing") {
    Folder folder;
    Pipe pipe;
    ::fcntl(pipe.read.get(), F_SETFL, 0);
    ::fcntl(pipe.write.get(), F_SETFL, 0);
    constexpr int total = 60'000;
    auto reader = [&] {
        pid_t pid = ::fork();
        if (pid != 0) return pid;
        pipe.write.reset();
        auto loop = new_loop();
        auto journal = open_journal(*loop, folder);
        Source source("a", "stdout", 7);
        uint32_t partial = no_partial;
        std::string rest;
        bool end = false;
        (void)journal->resume(7, "stdout", partial, rest);
        std::unique_ptr<Journal::Share> share;
        auto read = [&] {
            while (!end && share->may_read()) {
                ssize_t size =
                    ::read(pipe.read.get(), journal->buffer(source, partial), intake_size);
                if (size > 0)
                    journal->take(*share, partial, rest, static_cast<size_t>(size), nullptr);
                else
                    end = true;
            }
        };
        share = std::make_unique<Journal::Share>(*journal, read);
        read();
        while (!end)
            loop->run_once(true);
        // What the writer asks for is still to be heard.
        while (true)
            loop->run_once(true);
    };
    auto writer = [&] {
        pid_t pid = ::fork();
        if (pid != 0) return pid;
        // The ring may not be there yet.
        pipe.write.reset();
        while (true)
            if (auto opened = Writer::open(folder.path, folder.files())) ::_exit(opened->run());
    };
    pid_t pids[2] = {reader(), writer()};
    unsigned seed = 11;
    auto random = [&seed] { return (seed = seed * 1103515245 + 12345) >> 16; };
    auto count = [&] {
        Query query{folder.files(), folder.path, {}, 0};
        Strings lines;
        (void)read_logs(query, [&](const Entry& e) { lines.push_back(e.text); });
        return lines;
    };
    std::string text;
    for (int i = 0; i < total; ++i)
        text += std::to_string(i) + "\n";
    for (size_t at = 0; at < text.size(); at += 997) { // pieces do not end with lines
        std::string piece = text.substr(at, 997);
        REQUIRE(::write(pipe.write.get(), piece.data(), piece.size()) == ssize_t(piece.size()));
        if (random() % 4 != 0) continue;
        int which = random() % 2;
        ::kill(pids[which], SIGKILL);
        REQUIRE(::waitpid(pids[which], nullptr, 0) == pids[which]);
        pids[which] = which == 0 ? reader() : writer();
    }
    pipe.write.reset();
    Strings lines = count();
    while (lines.empty() || lines.back() != std::to_string(total - 1))
        lines = count();
    for (pid_t pid : pids) {
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
    }
    int missing = 0, doubled = 0, at = 0;
    for (const std::string& line : lines) {
        int number = std::stoi(line);
        if (number < at) ++doubled;
        if (number > at) missing += number - at;
        at = std::max(at, number + 1);
    }
    CHECK(missing == 0);
    CHECK(doubled == 0);
    CHECK(at == total);
}

// --- names and times ---

TEST_CASE("log: names of files and back") {
    uint32_t number;
    for (std::string name : {"sshd", "<getty \"tty1\">", "a/b", "..", "x%41", "ü"}) {
        std::string file = file_of(name);
        CHECK(file.find('/') == std::string::npos);
        CHECK(file[0] != '.');
        CHECK(service_of(file, number) == name);
        CHECK(number == 0);
        CHECK(service_of(file + ".12", number) == name);
        CHECK(number == 12);
    }
    CHECK(service_of("a.txt", number).empty());
    CHECK(service_of("a.log.x", number).empty());
}

TEST_CASE("log: services with long names have files of their own") {
    uint32_t number;
    CHECK(logged_name("sshd") == "sshd");
    const std::string beginnings[] = {std::string(190, 'x'), std::string(90, ' '),
                                      "." + std::string(182, 'x'), std::string(181, 'x') + "ü"};
    for (const std::string& beginning : beginnings) {
        std::string one = logged_name(beginning + std::string(100, 'x') + "1");
        std::string other = logged_name(beginning + std::string(100, 'x') + "2");
        CHECK(one != other);
        CHECK(file_of(one) != file_of(other));
        CHECK(logged_name(one) == one);
        CHECK(service_of(file_of(one), number) == one);
        CHECK(preserves::is_utf8(one));
        CHECK(Source(beginning + std::string(100, 'x') + "1", "stdout", 0).name() == one);
    }
}

TEST_CASE("log: times") {
    uint64_t now = 1'795'000'000'123'456;
    CHECK(*parse_time(time_text(now)) == now);
    CHECK(*parse_time("1970-01-02T00:00:01Z") == 86'401'000'000);
    CHECK(*parse_time("2024-02-29T12:00:00.5Z") == 1'709'208'000'500'000);
    CHECK_FALSE(parse_time("2024-02-29 12:00").ok());
    CHECK(*parse_since("2h", now) == now - 7'200'000'000);
    CHECK(*parse_since("1970-01-02", now) == 86'400'000'000);
    CHECK(*parse_since("1970-01-02 00:00:01", now) == 86'401'000'000);
    for (const char* bad : {"", "h", "5", "5w", "yesterday", "2026-11"})
        CHECK_FALSE(parse_since(bad, now).ok());
}
