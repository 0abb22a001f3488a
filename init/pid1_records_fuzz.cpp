// Records from a second stage that has lost its mind: any bytes, as records of the right size, each
// third one with a descriptor. Process 1 stays in a phase that there is, and keeps to its tables.
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "init/link.h"
#include "init/memory.h"
#include "init/pid1.h"

using namespace muster;
using namespace muster::pid1;

namespace {

struct NothingHappens final : Kernel {
    int theirs = -1; // the second stage's end
    std::int64_t now = 0;

    std::int64_t now_ms() override { return now += 10; }
    pid_t look(Exited&) override { return 0; }
    void reap(pid_t) override {}
    int kill(pid_t pid, int signal) override {
        // Nobody but the second stage, all, and those registered; never with nonsense.
        if (pid == 0 || pid == 1 || signal < 0) std::abort();
        return 0;
    }
    pid_t start(Helper helper, const State&, int fd) override {
        if (helper == Helper::second_stage) theirs = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        return 100;
    }
    int check_new_root(const records::SwitchRoot& to, const State&) override {
        if (strnlen(to.new_root, sizeof to.new_root) == sizeof to.new_root) std::abort();
        return -EXDEV;
    }
    int switch_root(const records::SwitchRoot&, State&) override { return -EINVAL; }
    int become(const char* program, State&) override {
        if (std::strlen(program) >= records::kPathSize) std::abort();
        return -ENOENT;
    }
    int end(records::Action, int, bool) override { return -EPERM; }
    int mount(const char*, const char*, const char*, unsigned long, const char*) override {
        return 0;
    }
    int make_directory(const char*, unsigned) override { return 0; }
    long file_system(const char*) override { return 0; }
    int is_mount_point(const char*) override { return 0; }
    int make_symlink(const char*, const char*) override { return 0; }
    int make_device(const char*, unsigned, unsigned, unsigned) override { return 0; }
    int write_file(const char*, std::string_view) override { return 0; }
    std::uint64_t inode(const char*) override { return 0; }
    void print(std::string_view) override {}
};

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    int state_fd = -1;
    State* state = make_state(state_fd);
    records::SharedState* shared = make_shared_state(state->shared_fd);
    NothingHappens kernel;
    Pid1 pid1(*state, *shared, kernel);
    pid1.begin();
    records::Record record = records::make_record(records::Kind::hello);
    record.payload.hello.version = records::kVersion;
    if (size > 0 && data[0] % 8 != 0) send_record(kernel.theirs, record);
    for (int count = 0; size > 1; ++count) {
        record = records::make_record(static_cast<records::Kind>(data[0] % 48));
        if (data[0] == 255) record.magic = 0;
        std::size_t length = data[1] < size - 2 ? data[1] : size - 2;
        std::memcpy(record.payload.bytes, data + 2, length);
        send_record(kernel.theirs, record, count % 3 == 0 ? state_fd : -1);
        data += 2 + length;
        size -= 2 + length;
        pid1.on_link_readable();
        pid1.on_time();
        if (state->phase > Phase::over || state->store.count() > records::kStoredFds ||
            state->statuses.count() > records::kSlots)
            std::abort();
        Attached attached;
        while (receive_record(kernel.theirs, record, attached) == 1)
            attached.close_from(0);
    }
    std::uint32_t at = 0;
    while (const DescriptorStore::Entry* entry = state->store.next(at)) {
        close(entry->fd);
        ++at;
    }
    for (at = 0; const SlotDescriptors::Entry* slot = state->slot_descriptors.next(at);)
        state->slot_descriptors.drop(at, slot->named.generation);
    if (state->link_fd >= 0) close(state->link_fd);
    close(kernel.theirs);
    close(state->shared_fd);
    munmap(state, sizeof(State));
    munmap(shared, records::kSharedSize);
    close(state_fd);
    return 0;
}
