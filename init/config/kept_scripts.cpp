#include "init/config/kept_scripts.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>

#include "init/base/blake2s.h"
#include "init/base/fd.h"

namespace muster::config {

namespace {

std::string digest_of(std::string_view text) {
    Blake2s hash;
    hash.add({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    const Digest digest = hash.finish();
    std::string name;
    for (size_t i = 0; i < 16; ++i) {
        name += "0123456789abcdef"[digest[i] >> 4];
        name += "0123456789abcdef"[digest[i] & 15];
    }
    return name;
}

} // namespace

KeptScripts::KeptScripts(const std::string& folder, const std::string& watched, bool fresh) {
    if (folder.empty()) return;
    ::mkdir(folder.c_str(), 0700);
    folder_ = folder + "/" + digest_of(watched);
    ::mkdir(folder_.c_str(), 0700);
    if (fresh) keep_only({});
}

std::string KeptScripts::place_of(const std::string& path) const {
    return folder_ + "/" + digest_of(path);
}

Result<> KeptScripts::keep(const std::string& path, std::string_view text) const {
    if (folder_.empty()) return {};
    const std::string place = place_of(path), fresh = place + ".new";
    Fd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!file) return system_error(fresh, errno);
    while (!text.empty()) {
        const ssize_t size = ::write(file.get(), text.data(), text.size());
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) {
            Error error = system_error(fresh, size < 0 ? errno : ENOSPC);
            ::unlink(fresh.c_str());
            return error;
        }
        text.remove_prefix(static_cast<size_t>(size));
    }
    if (::rename(fresh.c_str(), place.c_str()) < 0) return system_error(place, errno);
    return {};
}

void KeptScripts::forget(const std::string& path) const {
    if (!folder_.empty()) ::unlink(place_of(path).c_str());
}

void KeptScripts::keep_only(const std::set<std::string>& paths) const {
    if (folder_.empty()) return;
    std::set<std::string> names;
    for (const std::string& path : paths)
        names.insert(digest_of(path));
    const std::unique_ptr<DIR, int (*)(DIR*)> all(::opendir(folder_.c_str()), ::closedir);
    if (!all) return;
    while (const dirent* each = ::readdir(all.get()))
        if (each->d_name[0] != '.' && names.count(each->d_name) == 0)
            ::unlinkat(::dirfd(all.get()), each->d_name, 0);
}

std::optional<std::string> KeptScripts::text_of(const std::string& path) const {
    if (folder_.empty()) return {};
    Fd file(::open(place_of(path).c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return {};
    std::string text;
    char buffer[16'384];
    for (;;) {
        const ssize_t size = ::read(file.get(), buffer, sizeof buffer);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return {};
        if (size == 0) return text;
        text.append(buffer, static_cast<size_t>(size));
    }
}

} // namespace muster::config
