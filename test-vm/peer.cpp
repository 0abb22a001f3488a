// What the userland of the guest has not: a program for scenarios, static, from the C library
// alone.
//
//   peer serve               answers each client of the socket that was handed over (descriptor 3)
//                            with what it said and our pid
//   peer call PATH WORD      says WORD there and prints the answer
//   peer notify TEXT...      sends each, a line, in one message to NOTIFY_SOCKET
//   peer limit PID files N   no descriptor of that process is N or more from now on
//   peer limit PID memory N  it gets N bytes of address space beyond what it has now
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

[[noreturn]] void die(const char* what) {
    std::perror(what);
    std::exit(1);
}

socklen_t address_of(const char* path, sockaddr_un& address) {
    address = {};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::strlen(path));
    if (path[0] == '@') address.sun_path[0] = '\0';
    return size;
}

int connect_to(const char* path, int type) {
    sockaddr_un address;
    socklen_t size = address_of(path, address);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), size) == 0) return fd;
    close(fd);
    return -1;
}

int serve() {
    for (;;) {
        int client = accept(3, nullptr, nullptr);
        if (client < 0) die("accept");
        char word[256];
        ssize_t size = read(client, word, sizeof word - 1);
        if (size > 0) dprintf(client, "%.*s %d\n", static_cast<int>(size), word, getpid());
        close(client);
    }
}

int call(const char* path, const char* word) {
    int fd = connect_to(path, SOCK_STREAM);
    if (fd < 0) die(path);
    if (write(fd, word, std::strlen(word)) < 0) die("write");
    char answer[256];
    ssize_t size = read(fd, answer, sizeof answer);
    if (size <= 0) die("no answer");
    return write(STDOUT_FILENO, answer, static_cast<size_t>(size)) == size ? 0 : 1;
}

int notify(int count, char** texts) {
    const char* path = std::getenv("NOTIFY_SOCKET");
    if (path == nullptr) die("NOTIFY_SOCKET");
    std::string message;
    for (int i = 0; i < count; ++i)
        message += std::string(texts[i]) + "\n";
    int fd = connect_to(path, SOCK_DGRAM);
    if (fd < 0 || write(fd, message.data(), message.size()) < 0) die(path);
    return 0;
}

int limit(pid_t pid, const std::string& what, unsigned long number) {
    bool memory = what == "memory";
    auto resource = memory ? RLIMIT_AS : RLIMIT_NOFILE;
    if (memory) {
        char path[64], line[256];
        std::snprintf(path, sizeof path, "/proc/%d/statm", pid);
        FILE* file = std::fopen(path, "r");
        if (file == nullptr || std::fgets(line, sizeof line, file) == nullptr) die(path);
        number += std::strtoul(line, nullptr, 10) * static_cast<unsigned long>(getpagesize());
    }
    rlimit now{};
    if (prlimit(pid, resource, nullptr, &now) != 0) die("prlimit");
    now.rlim_cur = number; // the hard one stays, so that it can be undone
    if (prlimit(pid, resource, &now, nullptr) != 0) die("prlimit");
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    std::string word = argc > 1 ? argv[1] : "";
    if (word == "serve") return serve();
    if (word == "call" && argc == 4) return call(argv[2], argv[3]);
    if (word == "notify") return notify(argc - 2, argv + 2);
    if (word == "limit" && argc == 5)
        return limit(std::atoi(argv[2]), argv[3], std::strtoul(argv[4], nullptr, 10));
    std::fprintf(stderr, "peer: see the head of peer.cpp\n");
    return 2;
}
