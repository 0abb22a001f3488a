#include "init/config/kept_scripts.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>

#include "init/base/blake2s.h"
#include "init/base/fd.h"
#include "init/base/files.h"

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
    ::mkdir(folder.c_str(), 0700);
    folder_ = folder + "/" + digest_of(watched);
    ::mkdir(folder_.c_str(), 0700);
    if (fresh) keep_only({});
}

std::string KeptScripts::place_of(const std::string& path) const {
    return folder_ + "/" + digest_of(path);
}

Result<> KeptScripts::keep(const std::string& path, std::string_view text) const {
    return folder_.empty() ? Result<>() : replace_file(place_of(path), text);
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
    if (!read_to_end(file.get(), text)) return {};
    return text;
}

} // namespace muster::config
