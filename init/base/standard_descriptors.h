// Descriptors 0 to 2 of a program that may have been started without some of them.
#pragma once

#include <fcntl.h>
#include <unistd.h>

namespace muster {

// Opens those that are closed: the next one that is opened would be one of them, and what is said
// would go there. Before anything else is opened.
inline void fill_standard_descriptors() {
    int fd;
    do {
        fd = ::open("/dev/null", O_RDWR);
        if (fd < 0)
            fd = ::open("/", O_RDONLY | O_DIRECTORY); // no /dev yet: not to be written, but held
    } while (fd >= 0 && fd <= 2);
    if (fd > 2) ::close(fd);
}

} // namespace muster
