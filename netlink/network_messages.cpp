#include "netlink/network_messages.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>

#include <algorithm>
#include <cstring>

#include "netlink/records.h"

namespace muster::netlink {

using preserves::integer;
using preserves::string;
using preserves::symbol;
using preserves::Value;

namespace {

// The attributes of a message by their type; later ones of a type replace earlier ones.
template <size_t size>
struct Attributes {
    const nlattr* by_type[size] = {};

    explicit Attributes(const nlattr* first, const void* end) {
        const auto* at = first;
        while (::mnl_attr_ok(at, static_cast<int>(static_cast<const char*>(end) -
                                                  reinterpret_cast<const char*>(at)))) {
            const uint16_t type = ::mnl_attr_get_type(at);
            if (type < size) by_type[type] = at;
            at = ::mnl_attr_next(at);
        }
    }
    // Null unless it has at least `length` bytes.
    const void* get(size_t type, size_t length) const {
        const nlattr* found = type < size ? by_type[type] : nullptr;
        return found && ::mnl_attr_get_payload_len(found) >= length ? ::mnl_attr_get_payload(found)
                                                                    : nullptr;
    }
    template <typename T>
    T number(size_t type, T otherwise) const {
        const void* data = get(type, sizeof(T));
        if (data) std::memcpy(&otherwise, data, sizeof(T));
        return otherwise;
    }
};

// The end of a message's content; null if it is shorter than its fixed part.
template <typename Fixed>
const Fixed* fixed_part(const nlmsghdr* message) {
    if (::mnl_nlmsg_get_payload_len(message) < sizeof(Fixed)) return nullptr;
    return static_cast<const Fixed*>(::mnl_nlmsg_get_payload(message));
}

std::string link_address(const nlattr* attribute) {
    std::string text;
    if (!attribute) return text;
    const auto* bytes = static_cast<const uint8_t*>(::mnl_attr_get_payload(attribute));
    for (size_t i = 0; i < ::mnl_attr_get_payload_len(attribute); ++i) {
        if (i > 0) text += ':';
        text += "0123456789abcdef"[bytes[i] >> 4];
        text += "0123456789abcdef"[bytes[i] & 15];
    }
    return text;
}

size_t address_size(uint8_t family) { return family == AF_INET ? 4 : 16; }

std::string address(uint8_t family, const void* bytes) {
    char text[INET6_ADDRSTRLEN] = "";
    if (bytes) ::inet_ntop(family, bytes, text, sizeof text);
    return text;
}

} // namespace

// libmnl's own walk takes a length beyond 2^31 for a good one.
const nlmsghdr* take_message(std::string_view& datagram) {
    if (datagram.size() < sizeof(nlmsghdr)) return nullptr;
    const auto* message = reinterpret_cast<const nlmsghdr*>(datagram.data());
    const size_t length = message->nlmsg_len;
    if (length < sizeof(nlmsghdr) || length > datagram.size()) return nullptr;
    datagram.remove_prefix(std::min<size_t>(NLMSG_ALIGN(length), datagram.size()));
    return message;
}

std::optional<Link> parse_link(const nlmsghdr* message) {
    const auto* info = fixed_part<ifinfomsg>(message);
    if (!info || info->ifi_family != AF_UNSPEC || info->ifi_index <= 0) return {};
    const Attributes<IFLA_CARRIER + 1> attributes(
        static_cast<const nlattr*>(::mnl_nlmsg_get_payload_offset(message, sizeof *info)),
        ::mnl_nlmsg_get_payload_tail(message));
    const nlattr* name = attributes.by_type[IFLA_IFNAME];
    if (!name) return {};
    Link link;
    link.index = info->ifi_index;
    const auto* text = static_cast<const char*>(::mnl_attr_get_payload(name));
    link.name.assign(text, ::strnlen(text, ::mnl_attr_get_payload_len(name)));
    link.loopback = (info->ifi_flags & IFF_LOOPBACK) != 0;
    link.up = (info->ifi_flags & IFF_UP) != 0;
    link.oper = attributes.number<uint8_t>(IFLA_OPERSTATE, 0);
    link.carrier = attributes.number<uint8_t>(IFLA_CARRIER, 0) != 0;
    link.address = link_address(attributes.by_type[IFLA_ADDRESS]);
    return link;
}

std::vector<Route> parse_route(const nlmsghdr* message) {
    std::vector<Route> routes;
    const auto* info = fixed_part<rtmsg>(message);
    if (!info || (info->rtm_family != AF_INET && info->rtm_family != AF_INET6)) return routes;
    if (info->rtm_type != RTN_UNICAST || (info->rtm_flags & RTM_F_CLONED) != 0) return routes;
    const Attributes<RTA_VIA + 1> attributes(
        static_cast<const nlattr*>(::mnl_nlmsg_get_payload_offset(message, sizeof *info)),
        ::mnl_nlmsg_get_payload_tail(message));
    if (attributes.number<uint32_t>(RTA_TABLE, info->rtm_table) != RT_TABLE_MAIN) return routes;

    Route route;
    const size_t length = address_size(info->rtm_family);
    route.family = info->rtm_family;
    route.prefix = info->rtm_dst_len;
    route.tos = info->rtm_tos;
    route.priority = attributes.number<uint32_t>(RTA_PRIORITY, 0);
    if (const void* destination = attributes.get(RTA_DST, length))
        route.destination = address(route.family, destination);
    else if (route.prefix != 0)
        return routes;

    if (const nlattr* several = attributes.by_type[RTA_MULTIPATH]) {
        const auto* at = static_cast<const char*>(::mnl_attr_get_payload(several));
        size_t left = ::mnl_attr_get_payload_len(several);
        while (left >= sizeof(rtnexthop)) {
            rtnexthop hop;
            std::memcpy(&hop, at, sizeof hop);
            if (hop.rtnh_len < sizeof hop || hop.rtnh_len > left) break;
            const Attributes<RTA_GATEWAY + 1> of_hop(
                reinterpret_cast<const nlattr*>(at + sizeof hop), at + hop.rtnh_len);
            route.interface = hop.rtnh_ifindex;
            route.gateway = address(route.family, of_hop.get(RTA_GATEWAY, length));
            if ((hop.rtnh_flags & RTNH_F_DEAD) == 0) routes.push_back(route);
            const size_t step = RTNH_ALIGN(hop.rtnh_len);
            if (step >= left) break;
            at += step;
            left -= step;
        }
        return routes;
    }
    if ((info->rtm_flags & RTNH_F_DEAD) != 0) return routes;
    route.interface = attributes.number<int>(RTA_OIF, 0);
    route.gateway = address(route.family, attributes.get(RTA_GATEWAY, length));
    // A gateway of the other family (RFC 5549).
    if (const auto* via = static_cast<const char*>(attributes.get(RTA_VIA, sizeof(rtvia)))) {
        rtvia head;
        std::memcpy(&head, via, sizeof head);
        const bool known = head.rtvia_family == AF_INET || head.rtvia_family == AF_INET6;
        const size_t whole = sizeof head + address_size(static_cast<uint8_t>(head.rtvia_family));
        if (known && attributes.get(RTA_VIA, whole))
            route.gateway = address(static_cast<uint8_t>(head.rtvia_family), via + sizeof head);
    }
    routes.push_back(std::move(route));
    return routes;
}

Value interface_record(const Link& link, bool wireless) {
    static constexpr const char* oper[] = {"unknown", "down",    "down", "lower-layer-down",
                                           "testing", "dormant", "up"};
    std::string buffer;
    return preserves::record(
        "interface",
        {string(make_utf8(link.name, buffer)), integer(link.index),
         symbol(link.loopback ? "loopback"
                : wireless    ? "wireless"
                              : "normal"),
         symbol(link.up ? "up" : "down"), symbol(link.oper < 7 ? oper[link.oper] : "unknown"),
         symbol(link.carrier ? "carrier" : "no-carrier"), string(link.address)});
}

Value route_record(const Route& route, std::string_view interface) {
    std::string buffer;
    const Value destination =
        route.prefix == 0
            ? symbol("default")
            : preserves::record("prefix", {string(route.destination), integer(route.prefix)});
    return preserves::record(
        "route", {symbol(route.family == AF_INET ? "ipv4" : "ipv6"), destination,
                  integer(route.priority), integer(route.tos), string(make_utf8(interface, buffer)),
                  route.gateway.empty() ? symbol("none") : string(route.gateway)});
}

} // namespace muster::netlink
