// A user namespace of a service's own. Source: user_namespaces(7): who is in it has no rights
// outside, so that its maps of more than oneself are written by a child that stays outside.
#include <cerrno>

#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init/exec_order.h"
#include "init/line.h"

namespace muster::pid1 {

namespace {

// Each a line of its own: number inside, number outside, how many.
void add_self(Line& map, std::uint32_t number) {
    map.add(number);
    map.add(" ");
    map.add(number);
    map.add(" 1\n");
}

// 0, or the error.
int write_map(int process, const char* name, std::uint32_t number) {
    Line map;
    add_self(map, 0);
    if (number != 0) add_self(map, number);
    int fd = openat(process, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    ssize_t written = write(fd, map.view().data(), map.view().size());
    int error = written < 0 ? errno : 0;
    close(fd);
    return error;
}

} // namespace

UserNamespace::UserNamespace(const Order& order) {
    const char* text = order.value("--namespaces");
    std::string_view names = text != nullptr ? text : "";
    bool wanted = false;
    while (!names.empty())
        wanted = next_part(names, ',') == "user" || wanted;
    if (!wanted) return;
    process_ = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (process_ < 0) fail(order, "open ", "/proc/self", errno);
}

void UserNamespace::enter(const Order& order, const Identity& identity) const {
    int go[2];
    if (pipe2(go, O_CLOEXEC) < 0) fail(order, "make a user namespace", "", errno);
    pid_t child = fork();
    if (child < 0) fail(order, "make a user namespace", "", errno);
    if (child == 0) {
        char byte;
        close(go[1]);
        if (read(go[0], &byte, 1) != 1) _exit(0); // there is none
        int error = write_map(process_, "uid_map", identity.user);
        if (error == 0) error = write_map(process_, "gid_map", identity.group);
        _exit(error);
    }
    int error = unshare(CLONE_NEWUSER) < 0 ? errno : 0;
    if (error == 0 && write(go[1], "", 1) != 1) error = errno;
    close(go[0]);
    close(go[1]);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    if (error != 0) fail(order, "make a user namespace", "", error);
    if (status != 0)
        fail(order, "map users and groups", "", WIFEXITED(status) ? WEXITSTATUS(status) : EIO);
    close(process_);
}

} // namespace muster::pid1
