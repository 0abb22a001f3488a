#include "init/exec_stub.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init/exec_order.h"
#include "init/line.h"
#include "init/records.h"

namespace muster::pid1 {

namespace {

constexpr std::string_view kOptions[] = {
    "--capabilities", "--dir",
    "--env-file",     "--error-fd",
    "--group",        "--groups",
    "--hidden",       "--limit",
    "--namespaces",   "--nice",
    "--oom-score",    "--private",
    "--read-only",    "--no-new-privileges",
    "--root",         "--stderr",
    "--stdin",        "--stdout",
    "--tty",          "--umask",
    "--user",         "--writable",
};

int usage(std::string_view what, std::string_view subject) {
    Line line("init --exec: ", what, subject,
              "\nusage: init --exec [OPTION VALUE]... -- PROGRAM [ARGUMENT]...\n"
              "The options are in init(8).\n");
    ssize_t written = write(2, line.view().data(), line.view().size());
    static_cast<void>(written);
    return 2;
}

bool known(std::string_view option) {
    for (std::string_view each : kOptions)
        if (each == option) return true;
    return false;
}

} // namespace

const char* Order::value(std::string_view option) const {
    const char* found = nullptr;
    all(option, [&](const char* text) { found = text; });
    return found;
}

bool number_of(std::string_view text, unsigned base, std::uint32_t& number) {
    if (text.empty() || text.size() > 10) return false;
    std::uint64_t value = 0;
    for (char c : text) {
        if (c < '0' || static_cast<unsigned>(c - '0') >= base) return false;
        value = value * base + static_cast<unsigned>(c - '0');
    }
    number = static_cast<std::uint32_t>(value);
    return value <= 0xFFFFFFFE; // all ones means "leave it" to setuid and friends
}

std::string_view next_part(std::string_view& text, char separator) {
    std::size_t end = text.find(separator);
    std::string_view part = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    return part;
}

void fail(const Order& order, std::string_view step, std::string_view subject, int error) {
    Line what(step, subject);
    if (order.error_fd >= 0) {
        records::ExecFailure failure{};
        failure.magic = records::kMagic;
        failure.error_number = error;
        copy_field(failure.step, sizeof failure.step, what.view());
        ssize_t written = write(order.error_fd, &failure, sizeof failure);
        static_cast<void>(written); // the exit status says it as well
    } else {
        Line line("init --exec: ", what.view(), error ? ": " : "", error ? strerror(error) : "",
                  "\n");
        ssize_t written = write(2, line.view().data(), line.view().size());
        static_cast<void>(written);
    }
    _exit(error == ENOENT && step == "execute " ? 127 : 126);
}

int run_exec_stub(int argc, char** argv) {
    Order order;
    int at = 0;
    for (; at < argc && std::strcmp(argv[at], "--") != 0; at += 2) {
        if (!known(argv[at])) return usage("unknown option ", argv[at]);
        if (at + 1 >= argc) return usage("no value for ", argv[at]);
    }
    if (at + 1 >= argc) return usage("no program", "");
    order.words = argv;
    order.word_count = at;
    order.program = argv + at + 1;
    std::uint32_t fd = 0;
    if (const char* text = order.value("--error-fd")) {
        if (!number_of(text, 10, fd) || fcntl(static_cast<int>(fd), F_GETFD) < 0)
            return usage("not an open descriptor: ", text);
        order.error_fd = static_cast<int>(fd);
    }
    std::uint32_t mask = 0;
    const char* mask_text = order.value("--umask");
    if (mask_text != nullptr && (!number_of(mask_text, 8, mask) || mask > 0777))
        return usage("not an octal mask: ", mask_text);

    if (order.error_fd >= 0) fcntl(order.error_fd, F_SETFD, FD_CLOEXEC);
    static Identity identity; // too large for some stacks
    find_identity(order, identity);
    take_streams(order);
    make_environment(order, identity);
    if (mask_text != nullptr) umask(mask);
    take_resources(order);
    UserNamespace users(order);
    isolate(order);
    take_identity(order, identity, users);
    const char* dir = order.value("--dir");
    if (dir != nullptr && chdir(dir) < 0) fail(order, "enter ", dir, errno);
    if (order.has("--no-new-privileges") && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        fail(order, "give up new privileges", "", errno);
    execvp(order.program[0], order.program);
    fail(order, "execute ", order.program[0], errno);
}

} // namespace muster::pid1
