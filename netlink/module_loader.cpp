#include "netlink/module_loader.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "init/base/fd.h"

namespace muster::netlink {

namespace {

// linux/module.h, since 5.17; older headers do not have it.
constexpr int module_init_compressed_file = 4;

// The program that unpacks such a file; null for one that is not compressed.
const char* unpacker(std::string_view path) {
    if (path.ends_with(".gz")) return "zcat";
    if (path.ends_with(".xz")) return "xzcat";
    if (path.ends_with(".zst")) return "zstdcat";
    return nullptr;
}

int finit_module(int fd, const std::string& options, int flags) {
    return ::syscall(SYS_finit_module, fd, options.c_str(), flags) == 0 ? 0 : errno;
}

// The file's content in memory. An empty Fd: errno tells.
Fd unpack(int file, const char* program) {
    Fd memory(::memfd_create("module", MFD_CLOEXEC));
    if (!memory) return {};
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, file, 0);
    ::posix_spawn_file_actions_adddup2(&actions, memory.get(), 1);
    char name[16];
    char* const arguments[] = {name, nullptr};
    std::string_view(program).copy(name, sizeof name - 1);
    name[std::string_view(program).size()] = '\0';
    char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    char* const environment[] = {path, nullptr};
    pid_t pid = -1;
    const int problem = ::posix_spawnp(&pid, program, &actions, nullptr, arguments, environment);
    ::posix_spawn_file_actions_destroy(&actions);
    if (problem != 0) {
        errno = problem;
        return {};
    }
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return memory;
    errno = ENOEXEC;
    return {};
}

} // namespace

int ModuleLoader::load(const ModuleToLoad& module) {
    Fd file(::open(module.path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return errno;
    const char* const program = unpacker(module.path);
    int problem = EINVAL;
    if (!program || kernel_unpacks_)
        problem =
            finit_module(file.get(), module.options, program ? module_init_compressed_file : 0);
    // Of a kernel that cannot, or not this format: EOPNOTSUPP, or EINVAL as for an unknown flag.
    if (program && (problem == EINVAL || problem == EOPNOTSUPP)) {
        file = unpack(file.get(), program);
        if (!file) return errno;
        problem = finit_module(file.get(), module.options, 0);
        if (problem == 0) kernel_unpacks_ = false;
    }
    return problem == EEXIST ? 0 : problem;
}

} // namespace muster::netlink
