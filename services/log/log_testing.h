// For tests of the log: a folder, streams that are read by hand, the writer.
#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "init/base/catch.h"
#include "services/log/journal.h"
#include "services/log/reader.h"
#include "services/log/writer.h"

namespace muster::logs::test {

using Strings = std::vector<std::string>;

struct Folder {
    std::string path;
    Folder() {
        std::string name = "/tmp/muster-log-XXXXXX";
        REQUIRE(::mkdtemp(name.data()));
        path = name;
    }
    ~Folder() { (void)!::system(("rm -rf " + path).c_str()); }
    std::string files() const { return path + "/files"; }
    std::string text(const std::string& name) const {
        std::ifstream in(files() + "/" + name);
        std::stringstream all;
        all << in.rdbuf();
        return all.str();
    }
    void put(const std::string& name, const std::string& text) const {
        ::mkdir(files().c_str(), 0755);
        std::ofstream(files() + "/" + name) << text;
    }
    Strings lines(const Strings& services = {}) const {
        Strings found;
        Query query{files(), path, services, 0};
        auto read =
            read_logs(query, [&](const Entry& e) { found.push_back(e.service + ": " + e.text); });
        REQUIRE(read.ok());
        return found;
    }
};

struct Pipe {
    Fd read, write;
    Pipe() {
        int ends[2];
        REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
        read = Fd(ends[0]);
        write = Fd(ends[1]);
    }
    void say(std::string_view text) const {
        REQUIRE(::write(write.get(), text.data(), text.size()) == ssize_t(text.size()));
    }
};

inline std::unique_ptr<EventLoop> new_loop() { return std::move(*EventLoop::create()); }

inline std::unique_ptr<Journal> open_journal(EventLoop& loop, const Folder& folder) {
    auto journal = Journal::open(loop, folder.path);
    if (!journal) FAIL(journal.error().message);
    return std::move(*journal);
}

inline Writer open_writer(const Folder& folder) {
    auto writer = Writer::open(folder.path, folder.files());
    if (!writer) FAIL(writer.error().message);
    return std::move(*writer);
}

// A stream that is read by hand.
struct Reading {
    Journal& journal;
    Source source;
    Pipe pipe;
    Journal::Share share{journal, [this] { ++spaces; }};
    uint32_t partial = no_partial;
    std::string rest;
    int spaces = 0;

    Reading(Journal& j, std::string_view name, int32_t pid = 7, Rotation rotation = {})
        : journal(j), source(name, "stdout", pid, rotation) {}
    std::string read() {
        std::string lines;
        ssize_t size = ::read(pipe.read.get(), journal.buffer(source, partial), intake_size);
        REQUIRE(size > 0);
        journal.take(share, partial, rest, static_cast<size_t>(size), &lines);
        return lines;
    }
    void say(std::string_view text) {
        pipe.say(text);
        read();
    }
};

// As the journal does when the writer has said that it can.
inline void begin_writing(EventLoop& loop, Journal& journal) {
    while (!journal.shared().writing.load())
        loop.run_once(true);
}

} // namespace muster::logs::test
