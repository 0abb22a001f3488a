// The kernel command line: whatever it is, paths are ended within their fields.
#include "init/command_line.h"

#include <cstdlib>
#include <cstring>

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    muster::pid1::CommandLine line{};
    parse_command_line({reinterpret_cast<const char*>(data), size}, line);
    if (strnlen(line.init, sizeof line.init) == sizeof line.init) std::abort();
    if (strnlen(line.config, sizeof line.config) == sizeof line.config) std::abort();
    return 0;
}
