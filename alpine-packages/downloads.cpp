#include "alpine-packages/downloads.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <set>

#include "alpine-packages/files.h"

namespace muster::apk {
namespace {

constexpr int most_rounds = 6;

std::uint64_t size_of(const std::string& path) {
    struct stat st {};
    return stat(path.c_str(), &st) == 0 ? static_cast<std::uint64_t>(st.st_size) : 0;
}

std::string part(const WantedFile& file) { return file.path + ".part"; }

// A value in one of curl's configuration files.
std::string quoted(const std::string& text) {
    std::string out = "\"";
    for (char c : text) {
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + "\"";
}

class Downloads {
  public:
    Downloads(const std::vector<WantedFile>& files, unsigned stall,
              const DownloadProgress& progress)
        : stall_(stall), progress_(progress) {
        for (const WantedFile& file : files) {
            largest_ = std::max(largest_, file.size);
            all_ += file.size;
            if (size_of(file.path) == file.size && exists(file.path))
                have_ += file.size;
            else
                missing_.push_back(&file);
        }
    }

    bool gone() const { return gone_; }

    Result<> run() {
        if (missing_.empty()) return {};
        std::set<const WantedFile*> anew; // were begun from the start once more
        for (int round = 0; round < most_rounds && !missing_.empty(); ++round) {
            std::vector<std::uint64_t> before;
            for (const WantedFile* file : missing_)
                before.push_back(size_of(part(*file)));
            auto status = fetch();
            if (!status) return status.error();
            if (*status == 127) return one_by_one();
            std::vector<const WantedFile*> left;
            bool moved = false;
            for (std::size_t i = 0; i < missing_.size(); ++i) {
                const WantedFile& file = *missing_[i];
                std::uint64_t size = size_of(part(file));
                if (take(file, size)) continue;
                if (size > file.size && anew.count(&file)) {
                    given_up_.push_back({&file, size});
                    unlink(part(file).c_str());
                    moved = true;
                    continue;
                }
                left.push_back(&file);
                if (size > before[i] && size < file.size) {
                    moved = true;
                } else if (size > 0 && anew.insert(&file).second) {
                    // what is there may be wrong, or the server cannot go on in the middle
                    unlink(part(file).c_str());
                    moved = true;
                }
            }
            missing_ = std::move(left);
            if (!moved && round > 0) break; // twice without a byte
        }
        report();
        return missing_.empty() && given_up_.empty() ? Result<>() : complain();
    }

  private:
    bool take(const WantedFile& file, std::uint64_t size) {
        if (size != file.size || rename(part(file).c_str(), file.path.c_str()) != 0) return false;
        have_ += size;
        return true;
    }

    // False when a file goes on after its end: then all are ended, and the others go on where they
    // were.
    bool report() {
        std::uint64_t now = have_;
        bool good = true;
        for (const WantedFile* file : missing_) {
            std::uint64_t size = size_of(part(*file));
            good = good && size <= file->size;
            now += std::min(size, file->size);
        }
        if (progress_) progress_(now, all_);
        return good;
    }

    // curl's exit status, 127 when there is none. What it complained about is in errors_.
    Result<int> fetch() {
        std::string stem = missing_.front()->path + ".curl" + std::to_string(getpid());
        std::string config = stem + ".config", errors = stem + ".errors", text;
        for (const WantedFile* file : missing_)
            text += "url = " + quoted(file->url) + "\noutput = " + quoted(part(*file)) + "\n";
        if (auto done = write_file(config, text); !done) return done.error();
        std::vector<std::string> words = {"curl",
                                          "-q",
                                          "--silent",
                                          "--show-error",
                                          "--fail",
                                          "--location",
                                          "--globoff",
                                          "--parallel",
                                          "--parallel-max",
                                          "6",
                                          "--continue-at",
                                          "-",
                                          "--connect-timeout",
                                          "10",
                                          "--speed-limit",
                                          "1",
                                          "--speed-time",
                                          std::to_string(stall_),
                                          "--proto",
                                          "=http,https,ftp,file",
                                          "--stderr",
                                          errors,
                                          "--config",
                                          config};
        // nothing larger than the largest, also between two looks at them
        auto status = run_program(with_limit(largest_, words), [this] { return report(); });
        if (auto said = read_file(errors); said && !said->empty()) errors_ = *said;
        gone_ = gone_ || says_absent(errors_);
        unlink(config.c_str());
        unlink(errors.c_str());
        return status;
    }

    Result<> one_by_one() {
        for (const WantedFile* file : missing_) {
            std::string message;
            Download result =
                download(file->url, file->path, {.stall = stall_, .size = file->size}, message);
            gone_ = result == Download::absent;
            if (result != Download::done) return Error{message};
            if (std::uint64_t size = size_of(file->path); size != file->size) {
                unlink(file->path.c_str());
                return Error{wrong_size(*file, size)};
            }
            have_ += file->size;
        }
        missing_.clear();
        report();
        return {};
    }

    static std::string wrong_size(const WantedFile& file, std::uint64_t size) {
        return "download " + file.url + ": " + std::to_string(size) +
               " bytes came, the index says " + std::to_string(file.size);
    }

    Error complain() const {
        std::string message;
        for (const WantedFile* file : missing_) {
            if (!message.empty()) message += "\n  ";
            std::uint64_t size = size_of(part(*file));
            message +=
                size > 0 ? wrong_size(*file, size) : "download " + file->url + ": nothing came";
            if (size > file->size) unlink(part(*file).c_str());
        }
        for (const auto& [file, size] : given_up_)
            message += (message.empty() ? "" : "\n  ") + wrong_size(*file, size);
        // it shows progress as well, whatever it is told
        std::size_t at = std::min(errors_.find("curl: "), errors_.size());
        std::string said = errors_.substr(at, errors_.find('\n', at) - at);
        return Error{message + (said.empty() ? "" : "\n  " + said)};
    }

    const unsigned stall_;
    const DownloadProgress& progress_;
    std::vector<const WantedFile*> missing_;
    std::vector<std::pair<const WantedFile*, std::uint64_t>> given_up_; // and how much came
    std::uint64_t all_ = 0, have_ = 0, largest_ = 0;
    bool gone_ = false;
    std::string errors_;
};

} // namespace

Result<> download_all(const std::vector<WantedFile>& files, unsigned stall,
                      const DownloadProgress& progress, bool& gone) {
    Downloads downloads(files, stall, progress);
    auto done = downloads.run();
    gone = downloads.gone();
    return done;
}

} // namespace muster::apk
