// Any bytes as the answer of rtnetlink.
#include <libmnl/libmnl.h>

#include <cstring>
#include <vector>

#include "netlink/network_messages.h"

using namespace muster::netlink;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    std::vector<nlmsghdr> aligned(size / sizeof(nlmsghdr) + 1);
    std::memcpy(aligned.data(), data, size);
    const nlmsghdr* message = aligned.data();
    int left = static_cast<int>(size);
    while (::mnl_nlmsg_ok(message, left)) {
        if (const auto link = parse_link(message)) (void)interface_record(*link, false);
        for (const Route& route : parse_route(message))
            (void)route_record(route, route.gateway);
        message = ::mnl_nlmsg_next(message, &left);
    }
    return 0;
}
