// Any bytes as the answer of rtnetlink.
#include <linux/netlink.h>

#include <cstring>
#include <vector>

#include "netlink/network_messages.h"

using namespace muster::netlink;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::vector<nlmsghdr> aligned(size / sizeof(nlmsghdr) + 1);
    std::memcpy(aligned.data(), data, size);
    std::string_view datagram(reinterpret_cast<const char*>(aligned.data()), size);
    while (const nlmsghdr* message = take_message(datagram)) {
        if (const auto link = parse_link(message)) (void)interface_record(*link, false);
        for (const Route& route : parse_route(message))
            (void)route_record(route, route.gateway);
    }
    return 0;
}
