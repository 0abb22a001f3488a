// Links and routes in the messages of rtnetlink(7), and the records made of them. No system calls.
//
//   <interface "name" index type admin oper carrier "linkAddr">   Synit's network schema
//   <route addressFamily destination priority tos "interfaceName" gateway>
//
// type: loopback normal wireless; admin: down up; oper: unknown down lower-layer-down testing
// dormant up; carrier: no-carrier carrier; linkAddr: "52:54:00:12:34:56", "" if there is none.
// addressFamily: ipv4 ipv6; destination: default, or <prefix "10.0.0.0" 24>; gateway: "10.0.2.2",
// or none for what is reached directly.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "init/preserves/value.h"

struct nlmsghdr;

namespace muster::netlink {

// Takes the next message off a datagram, which lies as aligned as the message's head demands. Null
// when there is no whole one left.
const nlmsghdr* take_message(std::string_view& datagram);

struct Link {
    int index = 0;
    std::string name;
    bool loopback = false;
    bool up = false;  // as the administrator wants it
    uint8_t oper = 0; // IF_OPER_*, RFC 2863
    bool carrier = false;
    std::string address;
};

// From RTM_NEWLINK or RTM_DELLINK. Empty if the message is about something else: bridge ports and
// wireless events use the same types.
std::optional<Link> parse_link(const nlmsghdr* message);

// One way of a route; a route with several next hops is several of them.
struct Route {
    uint8_t family = 0; // AF_INET, AF_INET6
    std::string destination;
    uint8_t prefix = 0; // length in bits; 0: default
    uint32_t priority = 0;
    uint8_t tos = 0;
    int interface = 0; // index
    std::string gateway;
};

// From RTM_NEWROUTE or RTM_DELROUTE: the usable unicast routes of the main table; none for others.
std::vector<Route> parse_route(const nlmsghdr* message);

preserves::Value interface_record(const Link& link, bool wireless);
preserves::Value route_record(const Route& route, std::string_view interface);

} // namespace muster::netlink
