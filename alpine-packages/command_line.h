// What the host tools' main functions have in common. Host only.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "alpine-packages/downloads.h"
#include "init/base/result.h"

namespace muster::apk {

enum Exit { good = 0, wrong = 1, misuse = 2, unreachable = 3 };

// The time of everything that has none of its own, in seconds since 1970: SOURCE_DATE_EPOCH, or 0.
inline std::int64_t source_date_epoch() {
    const char* epoch = std::getenv("SOURCE_DATE_EPOCH");
    return epoch ? std::atoll(epoch) : 0;
}

// Tells on stderr what was downloaded: on a terminal in one line that is written anew, elsewhere
// when all is there.
inline DownloadProgress download_progress() {
    return [terminal = isatty(STDERR_FILENO) == 1](std::uint64_t done, std::uint64_t all) {
        if (!terminal && done < all) return;
        std::fprintf(stderr, "%sdownloaded %ju of %ju KiB%s", terminal ? "\r" : "",
                     std::uintmax_t{done / 1024}, std::uintmax_t{all / 1024},
                     done < all ? "" : "\n");
    };
}

// The words of a command line, one after the other.
class Words {
  public:
    Words(int count, char** words) : count_(count), words_(words) {}

    bool next() { return ++at_ < count_; }
    std::string word() const { return words_[at_]; }
    bool is_option() const { return word().starts_with("--"); }

    // The value of the option that stands here, which is the next word.
    Result<std::string> value() {
        if (at_ + 1 >= count_) return Error{word() + ": needs a value"};
        return std::string(words_[++at_]);
    }

  private:
    int count_, at_ = 0;
    char** words_;
};

// PARSE gives the arguments out of Words, or what is wrong with them; RUN an Exit, or what went
// wrong.
template <typename Parse, typename Run>
int run_tool(int argc, char** argv, const char* name, const char* usage, Parse parse, Run run) {
    auto arguments = parse(Words(argc, argv));
    if (!arguments) {
        std::fprintf(stderr, "%s: %s\n%s", name, arguments.error().message.c_str(), usage);
        return misuse;
    }
    Result<Exit> status = run(*arguments);
    if (status) return *status;
    std::fprintf(stderr, "%s: %s\n", name, status.error().message.c_str());
    return wrong;
}

} // namespace muster::apk
