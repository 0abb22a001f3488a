#include "init/base/files.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>

#include "init/base/fd.h"

namespace muster {

bool read_to_end(int fd, std::string& text, size_t most) {
    char buffer[16'384];
    while (text.size() <= most) {
        const ssize_t size = ::read(fd, buffer, sizeof buffer);
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) return size == 0;
        text.append(buffer, static_cast<size_t>(size));
    }
    return true;
}

Result<> replace_file(const std::string& path, std::string_view text) {
    const std::string fresh = path + ".new";
    Fd file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!file) return system_error(fresh, errno);
    while (!text.empty()) {
        const ssize_t size = ::write(file.get(), text.data(), text.size());
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) {
            const Error error = system_error(fresh, size < 0 ? errno : ENOSPC);
            ::unlink(fresh.c_str());
            return error;
        }
        text.remove_prefix(static_cast<size_t>(size));
    }
    if (::rename(fresh.c_str(), path.c_str()) < 0) return system_error(path, errno);
    return {};
}

} // namespace muster
