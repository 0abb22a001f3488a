// For tests: the test program is also `init --exec`, and a client of sd_notify(3).
#pragma once

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "services/daemon/supervisor_world.h"

namespace muster::services::test {

inline std::string own_path() {
    char path[4096];
    ssize_t size = ::readlink("/proc/self/exe", path, sizeof path);
    return std::string(path, size > 0 ? static_cast<size_t>(size) : 0);
}

// Shell text that says MESSAGE (without quotes) on NOTIFY_SOCKET.
inline std::string tell(const std::string& message) {
    return own_path() + " --tell '" + message + "'";
}

// A folder of its own, removed with what is in it.
struct Folder {
    std::string path = "/tmp/muster-fields-XXXXXX";
    Folder() { REQUIRE(::mkdtemp(path.data()) != nullptr); }
    ~Folder() { (void)!::system(("rm -rf " + path).c_str()); }
    std::string operator/(const std::string& name) const { return path + "/" + name; }
    void write(const std::string& name, const std::string& text, mode_t mode = 0644) const {
        std::string file = *this / name;
        FILE* out = std::fopen(file.c_str(), "w");
        REQUIRE(out != nullptr);
        std::fputs(text.c_str(), out);
        std::fclose(out);
        ::chmod(file.c_str(), mode);
    }
    std::string read(const std::string& name) const {
        std::string text;
        if (FILE* in = std::fopen((*this / name).c_str(), "r")) {
            char buffer[4096];
            for (size_t size; (size = std::fread(buffer, 1, sizeof buffer, in)) > 0;)
                text.append(buffer, size);
            std::fclose(in);
        }
        return text;
    }
};

} // namespace muster::services::test
