// Emptying an initramfs and finding the init of a new root, on real files. The switch itself is
// tested in the virtual machine.
#include "init/switch_root.h"

#include <cerrno>
#include <cstdlib>
#include <string>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init/base/catch.h"
#include "init/base/fd.h"
#include "init/line.h"

using namespace muster;
using namespace muster::pid1;

namespace {

struct Folder {
    std::string path;
    Folder() {
        char name[] = "/tmp/muster-root-XXXXXX";
        REQUIRE(mkdtemp(name) != nullptr);
        path = name;
    }
    ~Folder() {
        empty_directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        rmdir(path.c_str());
    }
    void file(const std::string& name, int mode = 0755) {
        Fd fd(open((path + name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, mode));
        REQUIRE(fd.valid());
    }
    void directory(const std::string& name) { REQUIRE(mkdir((path + name).c_str(), 0755) == 0); }
    void link(const std::string& target, const std::string& name) {
        REQUIRE(symlink(target.c_str(), (path + name).c_str()) == 0);
    }
};

// In a mount namespace of its own, on a tmpfs at `folder`: what `check` returns. -1: not possible.
template <typename Check>
int in_namespace(const std::string& folder, Check check) {
    pid_t pid = fork();
    if (pid == 0) {
        if (unshare(CLONE_NEWNS) < 0) _exit(255);
        if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) _exit(255);
        if (mount("tmpfs", folder.c_str(), "tmpfs", 0, nullptr) < 0) _exit(255);
        _exit(check());
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) != 255 ? WEXITSTATUS(status) : -1;
}

int find(const std::string& root, const char* init, const char* from_command_line, NewInit& found) {
    records::SwitchRoot to{};
    copy_field(to.new_root, sizeof to.new_root, root);
    copy_field(to.init, sizeof to.init, init);
    return -find_new_init(to, from_command_line, found);
}

} // namespace

TEST_CASE("emptying a directory: everything in it, nothing that it links to") {
    Folder other;
    other.file("/stays");
    Folder folder;
    folder.file("/a");
    folder.link(other.path, "/link");
    std::string below;
    for (int depth = 0; depth < 20; ++depth) {
        below += "/d";
        folder.directory(below);
        folder.file(below + "/f");
    }
    for (int i = 0; i < 500; ++i)
        folder.file("/many-" + std::to_string(i));
    empty_directory(open(folder.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    CHECK(rmdir(folder.path.c_str()) == 0);
    mkdir(folder.path.c_str(), 0755);
    CHECK(access((other.path + "/stays").c_str(), F_OK) == 0);
}

TEST_CASE("emptying a directory stays on its file system") {
    Folder folder;
    folder.directory("/mounted");
    folder.file("/goes");
    int status = in_namespace(folder.path + "/mounted", [&] {
        folder.file("/mounted/stays");
        empty_directory(open(folder.path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        bool stays = access((folder.path + "/mounted/stays").c_str(), F_OK) == 0;
        bool gone = access((folder.path + "/goes").c_str(), F_OK) != 0;
        return stays && gone ? 0 : 1;
    });
    if (status == -1)
        test::skip("needs root for a mount namespace");
    else
        CHECK(status == 0);
}

TEST_CASE("the init of a new root is looked for as the new root sees it") {
    Folder folder;
    NewInit found;
    CHECK(find(folder.path, "", "", found) == EXDEV); // no mount point
    CHECK(find(folder.path + "/none", "", "", found) == ENOENT);
    CHECK(find("/", "", "", found) == EXDEV);
    int status = in_namespace(folder.path, [&] {
        NewInit init;
        if (find(folder.path, "", "", init) != ENOENT) return 1;
        folder.directory("/bin");
        folder.directory("/sbin");
        folder.file("/bin/program");
        folder.link("/bin/program", "/sbin/init"); // absolute: in the new root
        if (find(folder.path, "", "", init) != 0 || std::string(init.path) != "/sbin/init")
            return 2;
        if (find(folder.path, "", "/bin/program", init) != 0 ||
            std::string(init.path) != "/bin/program")
            return 3;
        if (find(folder.path, "/bin/none", "/bin/program", init) != ENOENT) return 4;
        folder.file("/bin/text", 0644);
        if (find(folder.path, "/bin/text", "", init) != EACCES) return 5;
        if (find(folder.path, "/bin", "", init) != EACCES) return 6;
        return 0;
    });
    if (status == -1)
        test::skip("needs root for a mount namespace");
    else
        CHECK(status == 0);
}
