// Each field of a specification, as the process that has it sees it.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include "init/exec_stub.h"
#include "services/daemon/programs_testing.h"

using namespace muster;
using namespace muster::services;
using services::test::Folder;
using services::test::World;

namespace {

// The test program in other parts: before main, as glibc hands constructors the arguments.
__attribute__((constructor)) void play(int argc, char** argv, char**) {
    if (argc > 2 && std::strcmp(argv[1], "--exec") == 0)
        _exit(pid1::run_exec_stub(argc - 2, argv + 2));
    const char* path = ::getenv("NOTIFY_SOCKET");
    if (argc != 3 || std::strcmp(argv[1], "--tell") != 0 || path == nullptr) return;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    if (*path == '@') address.sun_path[0] = '\0';
    auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::strlen(path));
    int fd = ::socket(AF_UNIX, SOCK_DGRAM, 0);
    ssize_t sent =
        ::sendto(fd, argv[2], std::strlen(argv[2]), 0, reinterpret_cast<sockaddr*>(&address), size);
    _exit(sent > 0 ? 0 : 1);
}

// What a one-shot with these fields prints: lines with | between them.
std::string printed(const std::string& fields, const std::string& script) {
    World world;
    world.run("x", "{argv: [\"sh\" \"-c\" " +
                       preserves::to_text(preserves::string(script + "; echo end of it")) +
                       "] restart: never readyOnStart: #f " + fields + "}");
    world.until(
        [&] { return world.has_line("x stdout: end of it") || world.now.count("x failed") > 0; });
    std::string text;
    for (const std::string& line : world.lines) {
        size_t at = line.find("stdout: ");
        if (at == std::string::npos || line.ends_with("end of it")) continue;
        text += line.substr(at + 8) + "|";
    }
    if (world.now.count("x failed") > 0) text += world.last("x");
    return text;
}

bool root() {
    if (::geteuid() == 0) return true;
    muster::test::skip("needs root");
    return false;
}

} // namespace

TEST_CASE("fields: user, group, groups") {
    if (!root()) return;
    CHECK(printed("user: \"nobody\"", "id -un; echo $USER $LOGNAME; echo $HOME | grep -c root") ==
          "nobody|nobody nobody|0|");
    CHECK(printed("user: 4242 group: \"daemon\" groups: [\"bin\" 7]", "id -u; id -g; id -G") ==
          "4242|1|1 2 7|");
    CHECK(printed("user: \"nobody\" env: {HOME: \"/srv\"}", "echo $HOME") == "/srv|");
    CHECK(printed("user: \"no.such\"", "true") == "no user no.such");
}

TEST_CASE("fields: umask, nice, limits, OOM score") {
    CHECK(printed("umask: \"027\" nice: 5", "umask; nice") == "0027|5|");
    CHECK(printed("limits: {nofile: [100 200] core: 0}", "ulimit -Sn; ulimit -Hn; ulimit -c") ==
          "100|200|0|");
    CHECK(printed("limits: {fsize: \"1K\"}", "ulimit -f") == "2|"); // blocks of 512 bytes
    CHECK(printed("oomScore: 300", "cat /proc/self/oom_score_adj") == "300|");
    CHECK(printed("dir: \"/usr\" umask: \"077\"", "pwd") == "/usr|");
    CHECK(printed("dir: \"/no/such\" umask: \"077\"", "pwd") ==
          "enter /no/such: No such file or directory");
}

TEST_CASE("fields: files of variables") {
    Folder folder;
    folder.write("one", "A=1\nB='two words'\n");
    folder.write("two", "# other\nA=2\n");
    std::string files = "envFiles: [\"" + folder / "one" + "\" \"" + folder / "two" + "\" \"-" +
                        folder / "none" + "\"]";
    CHECK(printed(files + " env: {C: \"3\"}", "echo $A $B $C $MUSTER_SERVICE") ==
          "2 two words 3 <daemon x>|");
    CHECK(printed("envFiles: [\"" + folder / "none" + "\"]", "true") ==
          "read " + folder / "none" + ": No such file or directory");
}

TEST_CASE("fields: mounts of its own") {
    if (!root()) return;
    ::mkdir("/var/muster-fields", 0755);
    CHECK(printed("readOnly: [\"/\"] writable: [\"/var/muster-fields\"] privateTmp: #t "
                  "hidden: [\"/root\" \"-/no/such\"]",
                  "touch /var/x 2>/dev/null || echo read-only; touch /var/muster-fields/x && echo "
                  "writable; ls -A /tmp; ls -A /root; touch /tmp/x && echo temporary") ==
          "read-only|writable|temporary|");
    CHECK(::access("/var/muster-fields/x", F_OK) == 0);
    ::unlink("/var/muster-fields/x");
    ::rmdir("/var/muster-fields");
}

TEST_CASE("fields: another root") {
    if (!root()) return;
    Folder folder;
    REQUIRE(::system(("cd / && { echo /bin/sh; ldd /bin/sh | grep -o '/[^ ]*'; } | xargs -I{} cp "
                      "-L --parents {} " +
                      folder.path)
                         .c_str()) == 0);
    CHECK(printed("root: \"" + folder.path + "\"", "echo /b* /e*; pwd") == "/bin /e*|/|");
}

TEST_CASE("fields: privileges") {
    if (!root()) return;
    std::string show = "sed -n 's/^\\(CapEff\\|CapBnd\\|NoNewPrivs\\):.//p' /proc/self/status";
    CHECK(printed("capabilities: [\"CAP_CHOWN\" net_bind_service] noNewPrivileges: #t", show) ==
          "0000000000000401|0000000000000401|1|");
    CHECK(printed("user: \"nobody\" capabilities: [kill]", show) ==
          "0000000000000020|0000000000000020|0|");
}

TEST_CASE("fields: namespaces") {
    if (!root()) return;
    CHECK(printed("namespaces: [pid]", "echo $$; [ $(readlink /proc/self) -lt 20 ] && echo few") ==
          "1|few|");
    CHECK(printed("namespaces: [net ipc uts]",
                  "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '") == "lo|");
}

TEST_CASE("fields: a user namespace") {
    if (!root()) return;
    std::string show =
        "for map in uid gid; do sed 's/  */ /g; s/^ //' /proc/self/${map}_map; done; "
        "id -u; id -g; stat -c %U /proc/1 /bin/sh; ";
    std::string effective = "sed -n 's/^CapEff:.//p' /proc/self/status";
    CHECK(printed("namespaces: [user]",
                  show + "chown 1 /tmp 2>/dev/null || echo no others; hostname x 2>/dev/null || "
                         "echo nothing outside") ==
          "0 0 1|0 0 1|0|0|root|root|no others|nothing outside|");
    // Groups that are nobody there are still its own.
    CHECK(printed("namespaces: [user pid] user: \"nobody\" group: \"daemon\" groups: [\"tty\"] "
                  "capabilities: [kill]",
                  "cd /proc/self; for map in uid gid; do sed 's/  */ /g; s/^ //' ${map}_map; done; "
                  "id -un; id -gn; echo $$; grep Groups: status | tr '\t' ' '; " +
                      effective) ==
          "0 0 1|65534 65534 1|0 0 1|1 1 1|nobody|daemon|1|Groups: 1 65534 |0000000000000020|");
    Folder folder;
    REQUIRE(::system(("cd / && { echo /bin/sh; ldd /bin/sh | grep -o '/[^ ]*'; } | xargs -I{} cp "
                      "-L --parents {} " +
                      folder.path)
                         .c_str()) == 0);
    CHECK(printed("namespaces: [user] root: \"" + folder.path + "\"", "echo /b* /e*; pwd") ==
          "/bin /e*|/|");
}

TEST_CASE("fields: standard descriptors") {
    Folder folder;
    folder.write("in", "from a file\n");
    std::string file = "\"" + folder / "out" + "\"";
    CHECK(printed("stdin: \"" + folder / "in" + "\"", "cat") == "from a file|");
    CHECK(printed("stderr: stdout", "echo one; echo two >&2; echo three") == "one|two|three|");
    World world;
    auto once = [&](const std::string& id, const std::string& fields, const std::string& script) {
        world.run(id, "{argv: \"" + script + "\" restart: never readyOnStart: #f " + fields + "}");
        world.until_state(id + " complete");
    };
    once("a", "stdout: <file " + file + ">", "echo first");
    CHECK(folder.read("out") == "first\n");
    once("b", "stdout: <append " + file + "> stderr: stdout", "echo second; echo third >&2");
    CHECK(folder.read("out") == "first\nsecond\nthird\n");
    once("c", "stdout: <file " + file + "> stderr: null", "echo anew; echo gone >&2");
    CHECK(folder.read("out") == "anew\n");
    once("d", "stdout: null",
         "echo gone; [ /proc/self/fd/1 -ef /dev/null ] && echo null >&2; true");
    world.until_line("d stderr: null");
}

TEST_CASE("fields: a terminal of its own") {
    Fd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    REQUIRE(master.valid());
    REQUIRE(::grantpt(master.get()) == 0);
    REQUIRE(::unlockpt(master.get()) == 0);
    std::string name = ::ptsname(master.get());
    Fd held(::open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC)); // its output stays readable
    World world;
    world.run("getty", "{argv: \"tty; echo through >/dev/tty\" tty: \"" + name.substr(5) +
                           "\" restart: never}");
    world.until_state("getty complete");
    char text[256] = {};
    ssize_t size = ::read(master.get(), text, sizeof text - 1);
    CHECK(std::string(text, size > 0 ? static_cast<size_t>(size) : 0).starts_with(name + "\r\n"));
}

TEST_CASE("fields: sockets are handed over") {
    Folder folder;
    std::string path = folder / "s";
    World world;
    world.run("x", "{argv: \"echo $LISTEN_FDS $LISTEN_FDNAMES; [ $LISTEN_PID = $$ ] && echo mine; "
                   "readlink /proc/self/fd/4 | cut -d: -f1; exec sleep 1000\" listen: [<unix \"" +
                       path + "\"> <fifo \"" + folder / "f" + "\" {name: \"orders\"}>]}");
    world.until_line("x stdout: 2 s:orders");
    world.until_line("x stdout: mine");
    world.until_line("x stdout: " + folder / "f");
    // While it is started again, clients wait instead of being refused.
    Fd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    world.send("<restart-service <daemon x>>");
    CHECK(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    world.stop("x");
    world.until_gone("x");
    CHECK(::access(path.c_str(), F_OK) != 0);
}

TEST_CASE("fields: sockets and other descriptors through init --exec") {
    Folder folder;
    World world;
    world.run("x",
              "{argv: \"[ $LISTEN_PID = $$ ] && echo mine; ls /proc/self/fd | tr '\\n' ' '; echo; "
              "echo >&7; exec sleep 1000\" umask: \"077\" notify: 7 listen: [<unix \"" +
                  folder / "s" + "\">]}");
    world.until_state("x ready");
    world.until_line("x stdout: mine");
    // 3: the socket, 4: the folder that ls reads; 8, of the report, is closed.
    world.until_line("x stdout: 0 1 2 3 4 7 ");
}
