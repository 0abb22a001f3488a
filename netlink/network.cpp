#include "netlink/network.h"

#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

#include "netlink/say.h"

namespace muster::netlink {

namespace {

constexpr size_t buffer_size = 16 * 1024;
constexpr int messages_per_round = 64;

// Calls `found` with each message in a datagram. False when NLMSG_DONE ended it.
// `complete` becomes false if the kernel says that the answer is not.
template <typename Found>
bool each_message(std::string_view datagram, bool& complete, Found found) {
    while (const nlmsghdr* message = take_message(datagram)) {
        if (message->nlmsg_flags & NLM_F_DUMP_INTR) complete = false;
        if (message->nlmsg_type == NLMSG_ERROR) complete = false;
        if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR) return false;
        found(message);
    }
    return true;
}

// One dump (RTM_GETLINK, RTM_GETROUTE), on a socket of its own. False if it was disturbed by
// changes and is not complete.
Result<bool> dump(uint16_t type, const std::function<void(const nlmsghdr*)>& found) {
    auto socket = KernelSocket::open(NETLINK_ROUTE, {}, false);
    if (!socket) return socket.error();
    alignas(nlmsghdr) char buffer[buffer_size];
    nlmsghdr* const request = ::mnl_nlmsg_put_header(buffer);
    request->nlmsg_type = type;
    request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request->nlmsg_seq = 1;
    // ifinfomsg and rtmsg both begin with the family, AF_UNSPEC: all.
    ::mnl_nlmsg_put_extra_header(request, type == RTM_GETLINK ? sizeof(ifinfomsg) : sizeof(rtmsg));
    if (Result<> sent = socket->send(request); !sent) return sent.error();
    bool complete = true;
    for (;;) {
        std::string_view datagram;
        switch (socket->receive(buffer, datagram)) {
        case KernelSocket::Received::message:
            if (!each_message(datagram, complete, found)) return complete;
            break;
        case KernelSocket::Received::empty: {
            // The kernel answers before it returns from our request, so this is the exception.
            pollfd answer{.fd = socket->fd(), .events = POLLIN, .revents = 0};
            ::poll(&answer, 1, -1);
            break;
        }
        case KernelSocket::Received::lost:
            return false;
        case KernelSocket::Received::failed:
            return system_error("netlink: receive", errno);
        }
    }
}

} // namespace

Result<> Network::start() {
    constexpr unsigned groups[] = {RTNLGRP_LINK, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,
                                   RTNLGRP_IPV4_IFADDR};
    auto socket = KernelSocket::open(NETLINK_ROUTE, groups, false, receive_buffer_);
    if (!socket) return socket.error();
    socket_ = std::move(*socket);
    links_stale_ = true;
    handle();
    return {};
}

bool Network::handle() {
    if (!socket_) return false;
    const Publisher::Turn turn(publisher_);
    alignas(nlmsghdr) char buffer[buffer_size];
    bool more = true, ignored = true;
    for (int i = 0; more && i < messages_per_round; ++i) {
        std::string_view datagram;
        switch (socket_->receive(buffer, datagram)) {
        case KernelSocket::Received::message:
            each_message(datagram, ignored, [this](const nlmsghdr* m) { handle_message(m); });
            break;
        case KernelSocket::Received::lost:
            say("links and routes: the kernel dropped notifications; reading them again");
            links_stale_ = true;
            break;
        case KernelSocket::Received::empty:
            more = false;
            break;
        case KernelSocket::Received::failed:
            say(system_error("links and routes: receive", errno).message);
            socket_.reset();
            return false;
        }
    }
    if (more) return true;
    if (std::exchange(links_stale_, false)) read_links();
    if (std::exchange(routes_stale_, false)) read_routes();
    return links_stale_ || routes_stale_;
}

void Network::handle_message(const nlmsghdr* message) {
    switch (message->nlmsg_type) {
    case RTM_NEWLINK:
        if (auto link = parse_link(message)) on_link(*link);
        break;
    case RTM_DELLINK:
        if (auto link = parse_link(message)) {
            auto known = interfaces_.find(link->index);
            if (known == interfaces_.end()) break;
            publisher_.retract(known->second.handle);
            interfaces_.erase(known);
            routes_stale_ = true;
        }
        break;
    case RTM_NEWROUTE:
        if (message->nlmsg_flags & NLM_F_REPLACE) {
            routes_stale_ = true;
            break;
        }
        for (const Route& route : parse_route(message))
            on_route(route);
        break;
    case RTM_DELROUTE:
        if (!parse_route(message).empty()) routes_stale_ = true;
        break;
    case RTM_DELADDR: // routes with that source go with it
        routes_stale_ = true;
        break;
    default:
        break;
    }
}

void Network::on_link(const Link& link) {
    const std::string folder = sys_ + "/class/net/" + link.name;
    const bool wireless = ::access((folder + "/phy80211").c_str(), F_OK) == 0 ||
                          ::access((folder + "/wireless").c_str(), F_OK) == 0;
    const preserves::Value record = interface_record(link, wireless);
    auto known = interfaces_.find(link.index);
    if (known == interfaces_.end()) {
        interfaces_.emplace(link.index,
                            Interface{link.name, publisher_.assert_(record), record.hash()});
    } else {
        Interface& interface = known->second;
        interface.found = true;
        if (interface.hash == record.hash()) return;
        publisher_.replace(interface.handle, record);
        interface.hash = record.hash();
        interface.name = link.name;
    }
    routes_stale_ = true;
}

void Network::on_route(const Route& route) {
    const auto interface = interfaces_.find(route.interface);
    if (interface == interfaces_.end())
        return; // gone; else its link is told later, and then we look
    const preserves::Value record = route_record(route, interface->second.name);
    auto known = routes_.find(record.hash());
    if (known == routes_.end())
        routes_.emplace(record.hash(), Known{publisher_.assert_(record)});
    else
        known->second.found = true;
}

void Network::read_links() {
    for (auto& [index, interface] : interfaces_)
        interface.found = false;
    const Result<bool> complete = dump(RTM_GETLINK, [this](const nlmsghdr* message) {
        if (message->nlmsg_type != RTM_NEWLINK) return;
        if (auto link = parse_link(message)) on_link(*link);
    });
    routes_stale_ = true;
    if (!complete) return say("links: " + complete.error().message);
    if (!*complete) {
        links_stale_ = true;
        return;
    }
    for (auto it = interfaces_.begin(); it != interfaces_.end();) {
        if (!it->second.found) publisher_.retract(it->second.handle);
        it = it->second.found ? std::next(it) : interfaces_.erase(it);
    }
}

void Network::read_routes() {
    for (auto& [hash, route] : routes_)
        route.found = false;
    const Result<bool> complete = dump(RTM_GETROUTE, [this](const nlmsghdr* message) {
        if (message->nlmsg_type != RTM_NEWROUTE) return;
        for (const Route& route : parse_route(message))
            on_route(route);
    });
    if (!complete) return say("routes: " + complete.error().message);
    if (!*complete) {
        routes_stale_ = true;
        return;
    }
    for (auto it = routes_.begin(); it != routes_.end();) {
        if (!it->second.found) publisher_.retract(it->second.handle);
        it = it->second.found ? std::next(it) : routes_.erase(it);
    }
}

} // namespace muster::netlink
