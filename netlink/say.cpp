#include "netlink/say.h"

#include <unistd.h>

namespace muster::netlink {

void say(std::string message) {
    message += '\n';
    // Nothing can be done about a log that does not take it.
    [[maybe_unused]] const ssize_t written = ::write(2, message.data(), message.size());
}

} // namespace muster::netlink
