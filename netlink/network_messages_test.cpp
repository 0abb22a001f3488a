#include "netlink/network_messages.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>

#include <cstring>
#include <functional>

#include "init/base/catch.h"
#include "init/preserves/text_writer.h"

using namespace muster::netlink;
using muster::preserves::to_text;

namespace {

class Message {
  public:
    explicit Message(uint16_t type) : header_(::mnl_nlmsg_put_header(buffer_)) {
        header_->nlmsg_type = type;
    }
    template <typename Fixed>
    Fixed& fixed() {
        return *static_cast<Fixed*>(::mnl_nlmsg_put_extra_header(header_, sizeof(Fixed)));
    }
    Message& put(uint16_t type, const void* data, size_t size) {
        ::mnl_attr_put(header_, type, size, data);
        return *this;
    }
    Message& text(uint16_t type, const char* text) {
        return put(type, text, std::strlen(text) + 1);
    }
    Message& byte(uint16_t type, uint8_t value) { return put(type, &value, 1); }
    Message& number(uint16_t type, uint32_t value) { return put(type, &value, 4); }
    Message& address(uint16_t type, const char* text) {
        char bytes[16];
        const int family = std::strchr(text, ':') ? AF_INET6 : AF_INET;
        REQUIRE(::inet_pton(family, text, bytes) == 1);
        return put(type, bytes, family == AF_INET ? 4 : 16);
    }
    nlmsghdr* get() { return header_; }

  private:
    alignas(nlmsghdr) char buffer_[4096] = {};
    nlmsghdr* header_;
};

Message link_message() {
    Message message(RTM_NEWLINK);
    auto& info = message.fixed<ifinfomsg>();
    info.ifi_index = 2;
    info.ifi_flags = IFF_UP;
    return message;
}

Message route_message(uint8_t family, uint8_t prefix) {
    Message message(RTM_NEWROUTE);
    auto& info = message.fixed<rtmsg>();
    info.rtm_family = family;
    info.rtm_dst_len = prefix;
    info.rtm_table = RT_TABLE_MAIN;
    info.rtm_type = RTN_UNICAST;
    return message;
}

std::vector<std::string> routes(Message& message) {
    std::vector<std::string> texts;
    for (const Route& route : parse_route(message.get()))
        texts.push_back(to_text(route_record(route, "if" + std::to_string(route.interface))));
    return texts;
}
using Strings = std::vector<std::string>;

} // namespace

TEST_CASE("network messages: a link") {
    Message message = link_message();
    message.text(IFLA_IFNAME, "eth0").byte(IFLA_OPERSTATE, 6).byte(IFLA_CARRIER, 1);
    message.put(IFLA_ADDRESS, "\x52\x54\0\x12\x34\xf6", 6);
    const auto link = parse_link(message.get());
    REQUIRE(link.has_value());
    CHECK(to_text(interface_record(*link, false)) ==
          "<interface \"eth0\" 2 normal up up carrier \"52:54:00:12:34:f6\">");
    CHECK(to_text(interface_record(*link, true)) ==
          "<interface \"eth0\" 2 wireless up up carrier \"52:54:00:12:34:f6\">");

    Message bare = link_message();
    bare.text(IFLA_IFNAME, "tun0").byte(IFLA_OPERSTATE, 99);
    CHECK(to_text(interface_record(*parse_link(bare.get()), false)) ==
          "<interface \"tun0\" 2 normal up unknown no-carrier \"\">");
}

TEST_CASE("network messages: what only looks like a link") {
    Message nameless = link_message(); // as wireless events are
    CHECK_FALSE(parse_link(nameless.get()).has_value());
    Message bridge(RTM_NEWLINK);
    auto& info = bridge.fixed<ifinfomsg>();
    info.ifi_family = AF_BRIDGE;
    info.ifi_index = 2;
    bridge.text(IFLA_IFNAME, "eth0");
    CHECK_FALSE(parse_link(bridge.get()).has_value());
    Message empty(RTM_NEWLINK);
    CHECK_FALSE(parse_link(empty.get()).has_value());
    CHECK(parse_route(empty.get()).empty());
}

TEST_CASE("network messages: routes") {
    Message direct = route_message(AF_INET, 24);
    direct.address(RTA_DST, "10.1.2.0").number(RTA_OIF, 3).number(RTA_PRIORITY, 100);
    CHECK(routes(direct) == Strings{"<route ipv4 <prefix \"10.1.2.0\" 24> 100 0 \"if3\" none>"});
    Message standard = route_message(AF_INET6, 0);
    standard.address(RTA_GATEWAY, "fe80::1").number(RTA_OIF, 3);
    CHECK(routes(standard) == Strings{"<route ipv6 default 0 0 \"if3\" \"fe80::1\">"});

    Message via = route_message(AF_INET, 0);
    char other[18] = {AF_INET6, 0, char(0xfe), char(0x80)};
    other[17] = 2;
    via.number(RTA_OIF, 3).put(RTA_VIA, other, sizeof other);
    CHECK(routes(via) == Strings{"<route ipv4 default 0 0 \"if3\" \"fe80::2\">"});

    struct {
        rtnexthop hop;
        nlattr attribute;
        uint8_t gateway[4];
    } hops[2] = {{{sizeof hops[0], 0, 0, 4}, {8, RTA_GATEWAY}, {10, 0, 0, 1}},
                 {{sizeof hops[0], 0, 0, 5}, {8, RTA_GATEWAY}, {10, 0, 0, 2}}};
    Message several = route_message(AF_INET, 0);
    several.put(RTA_MULTIPATH, hops, sizeof hops);
    CHECK(routes(several) == Strings{"<route ipv4 default 0 0 \"if4\" \"10.0.0.1\">",
                                     "<route ipv4 default 0 0 \"if5\" \"10.0.0.2\">"});
    hops[0].hop.rtnh_flags = RTNH_F_DEAD;
    hops[1].hop.rtnh_len = 3;
    Message broken = route_message(AF_INET, 0);
    broken.put(RTA_MULTIPATH, hops, sizeof hops);
    CHECK(routes(broken).empty());
}

TEST_CASE("network messages: routes that are not for us") {
    const auto without = [](const std::function<void(rtmsg&)>& change) {
        Message message = route_message(AF_INET, 0);
        change(*static_cast<rtmsg*>(::mnl_nlmsg_get_payload(message.get())));
        message.number(RTA_OIF, 3);
        return routes(message).empty();
    };
    CHECK_FALSE(without([](rtmsg&) {}));
    CHECK(without([](rtmsg& m) { m.rtm_table = RT_TABLE_LOCAL; }));
    CHECK(without([](rtmsg& m) { m.rtm_type = RTN_BLACKHOLE; }));
    CHECK(without([](rtmsg& m) { m.rtm_flags = RTM_F_CLONED; }));
    CHECK(without([](rtmsg& m) { m.rtm_flags = RTNH_F_DEAD; }));
    CHECK(without([](rtmsg& m) { m.rtm_family = AF_BRIDGE; }));
    CHECK(without([](rtmsg& m) { m.rtm_dst_len = 8; })); // and no RTA_DST
    Message other = route_message(AF_INET, 0);
    other.number(RTA_OIF, 3).number(RTA_TABLE, 1000);
    CHECK(routes(other).empty());
}

TEST_CASE("network messages: a length that is too much ends the datagram") {
    Message message = link_message();
    message.text(IFLA_IFNAME, "eth0");
    const std::string_view whole(reinterpret_cast<const char*>(message.get()),
                                 message.get()->nlmsg_len);
    std::string_view datagram = whole;
    CHECK(take_message(datagram) == message.get());
    CHECK(take_message(datagram) == nullptr);
    for (uint32_t length : {0u, 15u, message.get()->nlmsg_len + 1, 0x8000'0000u, 0xffff'fff0u}) {
        message.get()->nlmsg_len = length;
        datagram = whole;
        CHECK(take_message(datagram) == nullptr);
    }
}
