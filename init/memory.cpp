#include "init/memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "init/line.h"

extern char** environ;

namespace muster::pid1 {

namespace {

void* map_whole(int fd, std::size_t size) {
    void* mapping = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    return mapping == MAP_FAILED ? nullptr : mapping;
}

// Its size can never change, so that no access to the mapping can fail.
void* make_memory(const char* name, std::size_t size, int& fd) {
    fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return nullptr;
    if (ftruncate(fd, static_cast<off_t>(size)) < 0) return nullptr;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) return nullptr;
    return map_whole(fd, size);
}

bool has_size(int fd, std::size_t size) {
    struct stat file {};
    if (fstat(fd, &file) < 0 || file.st_size != static_cast<off_t>(size)) return false;
    int seals = fcntl(fd, F_GET_SEALS);
    return seals >= 0 && (seals & F_SEAL_SHRINK);
}

} // namespace

State* make_state(int& fd) {
    void* memory = make_memory("muster-init", sizeof(State), fd);
    if (memory == nullptr) return nullptr;
    State* state = static_cast<State*>(memory); // zeroes are a valid one but for these
    state->magic = State::kMagic;
    state->version = State::kVersion;
    state->size = sizeof(State);
    state->limits = Limits{};
    state->shared_fd = -1;
    state->link_fd = -1;
    return state;
}

records::SharedState* make_shared_state(int& fd) {
    void* memory = make_memory("muster-slots", records::kSharedSize, fd);
    if (memory == nullptr) return nullptr;
    auto* shared = static_cast<records::SharedState*>(memory);
    shared->magic = records::kMagic;
    shared->version = records::kVersion;
    shared->slot_count = records::kSlots;
    shared->slot_size = sizeof(records::Slot);
    return shared;
}

State* adopt_state(int fd) {
    if (!has_size(fd, sizeof(State))) return nullptr;
    auto* state = static_cast<State*>(map_whole(fd, sizeof(State)));
    if (state == nullptr) return nullptr;
    if (state->magic != State::kMagic || state->version != State::kVersion ||
        state->size != sizeof(State)) {
        munmap(state, sizeof(State));
        return nullptr;
    }
    keep_over_exec(*state, fd, false);
    return state;
}

void keep_over_exec(const State& state, int state_fd, bool keep) {
    int flag = keep ? 0 : FD_CLOEXEC;
    fcntl(state_fd, F_SETFD, flag);
    fcntl(state.shared_fd, F_SETFD, flag);
    if (state.link_fd >= 0) fcntl(state.link_fd, F_SETFD, flag);
    state.store.set_close_on_exec(!keep);
    state.slot_descriptors.set_close_on_exec(!keep);
}

int take_state_over(const char* program, const State& state, int state_fd) {
    keep_over_exec(state, state_fd, true);
    Line number(state_fd);
    const char* arguments[] = {"init", "--resume", number.c_str(), nullptr};
    execve(program, const_cast<char* const*>(arguments), environ);
    int error = errno;
    keep_over_exec(state, state_fd, false);
    return -error;
}

records::SharedState* map_shared_state(int fd) {
    if (!has_size(fd, records::kSharedSize)) return nullptr;
    auto* shared = static_cast<records::SharedState*>(map_whole(fd, records::kSharedSize));
    if (shared == nullptr) return nullptr;
    if (shared->magic == records::kMagic && shared->version == records::kVersion) return shared;
    munmap(shared, records::kSharedSize);
    return nullptr;
}

} // namespace muster::pid1
