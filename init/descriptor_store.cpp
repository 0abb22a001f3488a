#include "init/descriptor_store.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <unistd.h>

namespace muster::pid1 {

namespace {

bool valid_name(const char (&name)[records::kFdNameSize]) {
    return name[0] != 0 && strnlen(name, sizeof name) < sizeof name;
}

} // namespace

DescriptorStore::Entry* DescriptorStore::find(const char (&name)[records::kFdNameSize]) {
    for (std::uint32_t place = 0; place < high_; ++place) {
        if (entries_[place].used && std::strcmp(entries_[place].name, name) == 0)
            return &entries_[place];
    }
    return nullptr;
}

int DescriptorStore::store(const char (&name)[records::kFdNameSize], int fd) {
    if (!valid_name(name)) return -EINVAL;
    if (find(name) != nullptr) return -EEXIST;
    for (std::uint32_t place = 0; place < records::kStoredFds; ++place) {
        Entry& entry = entries_[place];
        if (entry.used) continue;
        std::memcpy(entry.name, name, sizeof entry.name);
        entry.fd = fd;
        entry.used = true;
        ++count_;
        if (place >= high_) high_ = place + 1;
        return 0;
    }
    return -ENOSPC;
}

int DescriptorStore::drop(const char (&name)[records::kFdNameSize]) {
    if (!valid_name(name)) return -EINVAL;
    Entry* entry = find(name);
    if (entry == nullptr) return -ENOENT;
    entry->used = false;
    close(entry->fd);
    --count_;
    while (high_ > 0 && !entries_[high_ - 1].used)
        --high_;
    return 0;
}

const DescriptorStore::Entry* DescriptorStore::next(std::uint32_t& from) const {
    for (; from < high_; ++from) {
        if (entries_[from].used) return &entries_[from];
    }
    return nullptr;
}

void DescriptorStore::set_close_on_exec(bool on) const {
    for (std::uint32_t place = 0; place < high_; ++place) {
        if (entries_[place].used) fcntl(entries_[place].fd, F_SETFD, on ? FD_CLOEXEC : 0);
    }
}

} // namespace muster::pid1
