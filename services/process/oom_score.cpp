#include "services/process/oom_score.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace muster::services {

namespace {

constexpr int patience = 1000; // turns of others

// Negative: the kernel does not say.
int shares_our_memory(pid_t child) {
    constexpr int kcmp_vm = 1;
    const long order = ::syscall(SYS_kcmp, ::getpid(), child, kcmp_vm, 0, 0);
    if (order < 0) return errno == ESRCH ? 0 : -1;
    return order == 0 ? 1 : 0;
}

} // namespace

OomScore::OomScore() {
    Fd file(::open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC));
    char text[16];
    const ssize_t size = file ? ::pread(file.get(), text, sizeof text, 0) : 0;
    if (size <= 0 || text[0] == '0' || shares_our_memory(::getpid()) != 1) return;
    own_.assign(text, static_cast<size_t>(size));
    file_ = std::move(file);
}

void OomScore::as_children() {
    if (as_children_ || !file_) return;
    as_children_ = ::pwrite(file_.get(), "0", 1, 0) == 1;
}

void OomScore::leaving(pid_t child) {
    if (!as_children_) return;
    forget_those_who_left();
    leaving_.push_back(child);
}

void OomScore::restore() {
    if (!as_children_) return;
    forget_those_who_left();
    for (int turns = 0; !leaving_.empty(); ++turns) {
        if (turns == patience) return;
        ::sched_yield();
        forget_those_who_left();
    }
    as_children_ = ::pwrite(file_.get(), own_.data(), own_.size(), 0) < 0;
}

void OomScore::forget_those_who_left() {
    // Who may not be asked about (a program with more privileges than we have) stays.
    std::erase_if(leaving_, [](pid_t each) { return shares_our_memory(each) == 0; });
}

} // namespace muster::services
