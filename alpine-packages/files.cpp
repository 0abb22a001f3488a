#include "alpine-packages/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <memory>

#include "init/base/fd.h"
#include "init/base/wait_status.h"

extern char** environ;

namespace muster::apk {

Result<std::string> read_file(const std::string& path) {
    Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) return system_error("open " + path, errno);
    struct stat st {};
    if (fstat(fd.get(), &st) != 0) return system_error("stat " + path, errno);
    if (!S_ISREG(st.st_mode)) return Error{"read " + path + ": not a regular file"};
    std::string data(static_cast<std::size_t>(st.st_size), '\0');
    std::size_t have = 0;
    while (have < data.size()) {
        ssize_t got = read(fd.get(), data.data() + have, data.size() - have);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return system_error("read " + path, errno);
        if (got == 0) break;
        have += static_cast<std::size_t>(got);
    }
    data.resize(have);
    return data;
}

Result<> write_file(const std::string& path, std::string_view data) {
    std::string beside = path + ".part" + std::to_string(getpid());
    Fd fd(open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (!fd) return system_error("create " + beside, errno);
    while (!data.empty()) {
        ssize_t put = write(fd.get(), data.data(), data.size());
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) {
            int error_number = errno;
            unlink(beside.c_str());
            return system_error("write " + path, error_number);
        }
        data.remove_prefix(static_cast<std::size_t>(put));
    }
    if (rename(beside.c_str(), path.c_str()) != 0) {
        int error_number = errno;
        unlink(beside.c_str());
        return system_error("rename to " + path, error_number);
    }
    return {};
}

Result<> make_folders(const std::string& path) {
    for (std::size_t end = 1; end <= path.size(); ++end) {
        if (end < path.size() && path[end] != '/') continue;
        std::string part = path.substr(0, end);
        if (mkdir(part.c_str(), 0755) != 0 && errno != EEXIST)
            return system_error("mkdir " + part, errno);
    }
    return {};
}

Result<std::vector<std::string>> list_folder(const std::string& folder) {
    std::unique_ptr<DIR, int (*)(DIR*)> dir(opendir(folder.c_str()), &closedir);
    if (!dir) return system_error("open " + folder, errno);
    std::vector<std::string> names;
    while (dirent* entry = readdir(dir.get())) {
        std::string name = entry->d_name;
        if (name != "." && name != "..") names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
}

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

Result<int> run_program(const std::vector<std::string>& arguments,
                        const std::function<bool()>& meanwhile, const std::string& errors) {
    std::vector<char*> argv;
    for (const std::string& argument : arguments)
        argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, errors.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                     0644);
    pid_t pid = 0;
    int failed = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed == ENOENT) return 127;
    if (failed != 0) return system_error("run " + arguments[0], failed);
    if (meanwhile) {
        Fd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
        pollfd end{process.get(), POLLIN, 0};
        while (poll(&end, 1, 500) == 0)
            if (!meanwhile()) kill(pid, SIGTERM);
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return system_error("wait for " + arguments[0], errno);
    return shell_status(status);
}

std::vector<std::string> with_limit(std::uint64_t bytes, std::vector<std::string> words) {
    // ignored, the signal is an error of write(2), which is told like any other
    std::vector<std::string> out = {"sh", "-c",
                                    "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"", "sh",
                                    std::to_string(bytes / 512 + 1)};
    out.insert(out.end(), words.begin(), words.end());
    return out;
}

namespace {

// What a program complained about, on one line, without URL, which may have any words in it.
std::string complaint(const std::string& file, const std::string& url) {
    auto text = read_file(file);
    unlink(file.c_str());
    std::string out = text ? *text : "";
    for (std::size_t at; (at = out.find(url)) != out.npos;)
        out.erase(at, url.size());
    while (!out.empty() && (out.back() == '\n' || out.back() == ' '))
        out.pop_back();
    for (char& c : out)
        if (static_cast<unsigned char>(c) < ' ') c = ' ';
    return out.substr(out.size() > 200 ? out.size() - 200 : 0);
}

} // namespace

bool says_absent(const std::string& complaint) {
    for (const char* before : {"rror: ", "ERROR ", "HTTP/1.0 ", "HTTP/1.1 ", "  "})
        for (const char* status : {"404", "410"})
            if (complaint.find(before + std::string(status)) != complaint.npos) return true;
    return false;
}

Download download(const std::string& url, const std::string& path, const DownloadLimits& limits,
                  std::string& message) {
    std::string part = path + ".part" + std::to_string(getpid()), errors = part + ".errors";
    std::string stall = std::to_string(limits.stall);
    const std::vector<std::vector<std::string>> ways = {
        {"curl", "-q", "-fsSL", "--globoff", "--connect-timeout", "10", "--speed-limit", "1",
         "--speed-time", stall, "-o", part, url},
        {"wget", "-nv", "-T", stall, "-O", part, url},
        {"/usr/lib/apt/apt-helper", "-qq", "-o", "Acquire::http::Timeout=" + stall, "-o",
         "Acquire::https::Timeout=" + stall, "download-file", url, part},
    };
    message = "download " + url + ": there is no curl, wget or apt";
    for (const auto& way : ways) {
        for (int tries = 3; tries > 0; --tries) {
            auto status = run_program(with_limit(limits.size, way), {}, errors);
            std::string said = complaint(errors, url);
            if (!status) {
                message = status.error().message;
                return Download::unreachable;
            }
            if (*status == 127) break;
            if (*status == 0 && rename(part.c_str(), path.c_str()) == 0) return Download::done;
            struct stat st {};
            bool endless = stat(part.c_str(), &st) == 0 &&
                           static_cast<std::uint64_t>(st.st_size) >= limits.size;
            unlink(part.c_str());
            if (said.empty()) said = way[0] + " exited with " + std::to_string(*status);
            if (endless) said = "more than " + std::to_string(limits.size) + " bytes came";
            message = "download " + url + ": " + said;
            bool curl = way[0] == "curl";
            // a file:// that is not there
            if (says_absent(said) || (curl && *status == 37)) return Download::absent;
            // nobody is there, or another try would bring the same
            bool nobody = curl && (*status == 5 || *status == 6 || *status == 7 ||
                                   said.find("onnection timed out") != said.npos);
            if (curl && *status == 28) --tries; // was waited for long enough
            if (endless || nobody || tries <= 1) return Download::unreachable;
            if (curl && *status == 22) { // the server's word; maybe it is busy
                timespec second{1, 0};
                nanosleep(&second, nullptr);
            }
        }
    }
    return Download::unreachable;
}

} // namespace muster::apk
