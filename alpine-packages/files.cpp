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
#include <cstdio>
#include <memory>

#include "init/base/fd.h"

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
                        const std::function<void()>& meanwhile) {
    std::vector<char*> argv;
    for (const std::string& argument : arguments)
        argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    pid_t pid = 0;
    int failed = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed == ENOENT) return 127;
    if (failed != 0) return system_error("run " + arguments[0], failed);
    if (meanwhile) {
        Fd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
        pollfd end{process.get(), POLLIN, 0};
        while (poll(&end, 1, 500) == 0)
            meanwhile();
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return system_error("wait for " + arguments[0], errno);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

Download download(const std::string& url, const std::string& path, std::string& message) {
    std::string part = path + ".part" + std::to_string(getpid());
    struct Way {
        std::vector<std::string> command;
        int absent; // the exit status when the server has no such file; apt's is one for all
    };
    const std::vector<Way> ways = {
        {{"curl", "-fsSL", "--connect-timeout", "10", "--retry", "1", "-o", part, url}, 22},
        {{"wget", "-q", "-T", "20", "-t", "2", "-O", part, url}, 8},
        {{"/usr/lib/apt/apt-helper", "-qq", "download-file", url, part}, 100},
    };
    message = "download " + url + ": there is no curl, wget or apt";
    for (const Way& way : ways) {
        auto status = run_program(way.command);
        if (!status) {
            message = status.error().message;
            return Download::unreachable;
        }
        if (*status == 127) continue;
        if (*status == 0 && rename(part.c_str(), path.c_str()) == 0) return Download::done;
        unlink(part.c_str());
        bool absent = *status == way.absent;
        message = "download " + url + ": " +
                  (absent ? std::string("the server does not have it")
                          : way.command[0] + " exited with " + std::to_string(*status));
        return absent ? Download::absent : Download::unreachable;
    }
    return Download::unreachable;
}

} // namespace muster::apk
