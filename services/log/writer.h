// The log writer: a process that takes lines from the ring (ring.h) and puts them into files
// (files.h). It may be killed at any moment; its successor goes on without a line lost or doubled.
//
//   begin    the ring is opened; what the predecessor had of its last block is cut off the file
//     |
//     |  the folder cannot be used: said once; the ring keeps the newest lines, for `muster log`
//     v
//   writing  a block: written to the end of its file, then the ring's tail moves
//     |
//     |  the ring is empty: sleeping, without a timer
//     |  TERM: what is there is written; while the system goes down, until nobody else has a stream
//     v
//   end      files are synced
//
// A file whose last line was torn by a loss of power gets a line feed, and a line that says so.
// When a file cannot be written (a full disk), its lines are counted, and the count is written when
// it can be again.
#pragma once

#include <string>
#include <unordered_map>

#include "init/base/fd.h"
#include "init/base/result.h"
#include "services/log/files.h"
#include "services/log/ring.h"

namespace muster::logs {

class Writer {
  public:
    // ERRORS: there is no ring. What is wrong with the folder is said on standard error, once.
    static Result<Writer> open(const std::string& ring_folder, std::string folder);

    // Writes all that is there; true if there was something.
    bool work();
    // As a program: until TERM. Returns the exit status.
    int run();

  private:
    struct File {
        Fd fd;
        uint64_t size = 0;
        uint64_t begun_us = 0; // of its first line
        uint64_t inode = 0;
        uint64_t used = 0; // when, in blocks: the least recently used is closed first
    };

    explicit Writer(Ring ring, std::string folder)
        : ring_(std::move(ring)), folder_(std::move(folder)) {}
    void cut_off_batch();
    void prepare();
    Result<File*> file(const std::string& name);
    Result<> repair(File& file);
    Result<> rotate(const std::string& name, const Rotation& rotation);
    Result<> write(const Ring::Lines& lines);
    void failed(const Error& error, const Ring::Lines& lines);
    void sync();

    Ring ring_;
    std::string folder_;
    Fd directory_;
    std::unordered_map<std::string, File> files_; // open ones, by name
    std::unordered_map<std::string, uint64_t> missed_;
    std::string out_;
    std::string said_; // the last complaint
    uint64_t blocks_ = 0;
    uint64_t tried_us_ = 0;
};

// `muster log-writer`.
int log_writer(int argc, char** argv);

} // namespace muster::logs
