// The whole program but its main, with the real kernel: in a network namespace of its own, whose
// one link is renamed, taken up and down. Nothing is made that needs a module, nothing written to
// /sys.
#include "netlink/daemon.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <net/route.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstring>

#include "netlink/test_peer.h"

using namespace muster;
using namespace muster::netlink;
using testing::Strings;

namespace {

// While it lives the test is in new network and mount namespaces, with their /sys at `root`/sys.
class Namespaces {
  public:
    explicit Namespaces(const std::string& root)
        : network_(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)),
          mounts_(::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC)),
          folder_(::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC)) {
        if (::unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) return;
        const std::string sys = root + "/sys";
        std::filesystem::create_directories(sys);
        REQUIRE(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
        mounted_ = ::mount("sysfs", sys.c_str(), "sysfs", MS_RDONLY | MS_NOSUID, nullptr) == 0;
        control_ = Fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        entered_ = true;
    }
    ~Namespaces() {
        if (!entered_) return;
        ::setns(network_.get(), CLONE_NEWNET);
        ::setns(mounts_.get(), CLONE_NEWNS);
        [[maybe_unused]] const int back = ::fchdir(folder_.get());
    }
    bool ready() const { return entered_ && mounted_; }

    void rename(const char* from, const char* to) {
        ifreq request = named(from);
        std::strcpy(request.ifr_newname, to);
        REQUIRE(::ioctl(control_.get(), SIOCSIFNAME, &request) == 0);
    }
    void set_up(const char* name, bool up) {
        ifreq request = named(name);
        request.ifr_flags = static_cast<short>(up ? IFF_UP : 0);
        REQUIRE(::ioctl(control_.get(), SIOCSIFFLAGS, &request) == 0);
    }
    void add_route(const char* name) { // 10.9.8.0/24
        rtentry route{};
        const auto put = [](sockaddr& where, const char* text) {
            auto& address = reinterpret_cast<sockaddr_in&>(where);
            address.sin_family = AF_INET;
            REQUIRE(::inet_pton(AF_INET, text, &address.sin_addr) == 1);
        };
        put(route.rt_dst, "10.9.8.0");
        put(route.rt_genmask, "255.255.255.0");
        std::string device = name;
        route.rt_dev = device.data();
        route.rt_flags = RTF_UP;
        REQUIRE(::ioctl(control_.get(), SIOCADDRT, &route) == 0);
    }

  private:
    static ifreq named(const char* name) {
        ifreq request{};
        std::strcpy(request.ifr_name, name);
        return request;
    }

    Fd network_, mounts_, folder_, control_;
    bool entered_ = false;
    bool mounted_ = false;
};

// Netlink and its peer in one loop.
struct Running {
    std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
    testing::Peer peer;
    std::optional<Daemon> daemon;
    Watch watch;

    explicit Running(Daemon::Options options) {
        Fd end = peer.other_end();
        Fd output(::fcntl(end.get(), F_DUPFD_CLOEXEC, 0));
        daemon.emplace(*loop, std::move(end), std::move(output), std::move(options));
        REQUIRE(daemon->start().ok());
        watch = std::move(
            *loop->watch(peer.client().input_fd(), EPOLLIN, [this](uint32_t) { peer.receive(); }));
    }
    template <typename Condition>
    void until(Condition condition) {
        while (!condition())
            loop->run_once(true);
    }
    void until_asserted(const std::string& text) {
        INFO(text);
        until([&] { return peer.has(text); });
    }
};

constexpr const char* lo = "<device net \"/devices/virtual/net/lo\" "
                           "{IFINDEX: \"1\", INTERFACE: \"lo\"}>";
constexpr const char* ring = "<device net \"/devices/virtual/net/ring\" "
                             "{IFINDEX: \"1\", INTERFACE: \"ring\"}>";

} // namespace

TEST_CASE("daemon: devices of a real /sys, and a rename as one event") {
    testing::Tree tree;
    Namespaces namespaces(tree.root());
    if (!namespaces.ready()) return muster::test::skip("needs root, for namespaces");
    Running run({.root = tree.root(), .modules = false, .service = "<daemon netlink>"});
    namespaces.rename("lo", "first"); // before we are given anything: nothing is missed
    namespaces.rename("first", "lo");
    run.peer.give_capabilities();
    run.until_asserted("<service-state <daemon netlink> ready>");
    CHECK(run.peer.asserted("<coldplug-complete ").size() == 1);
    CHECK(run.peer.has(lo));
    const Strings devices = run.peer.asserted("<device ");
    for (const std::string& device : devices)
        CHECK(run.peer.count(device) == 1);
    // Coldplug-complete after the devices, readiness last.
    const Strings happened = run.peer.happened();
    REQUIRE(happened.size() >= 2);
    CHECK(happened[happened.size() - 2].starts_with("+<coldplug-complete "));
    CHECK(happened.back() == "+<service-state <daemon netlink> ready>");

    namespaces.rename("lo", "ring");
    run.until_asserted(ring);
    CHECK_FALSE(run.peer.has(lo));
    const Strings renamed = run.peer.happened();
    const auto is_message = [](const std::string& text) {
        return text.starts_with("!<uevent ") &&
               text.find("DEVPATH_OLD: \"/devices/virtual/net/lo\"") != std::string::npos;
    };
    const auto after = std::find(renamed.begin(), renamed.end(), "+" + std::string(ring));
    const auto before = std::find(renamed.begin(), renamed.end(), "-" + std::string(lo));
    CHECK(after < before);
    CHECK(before < std::find_if(renamed.begin(), renamed.end(), is_message));
}

TEST_CASE("daemon: links and routes of the real kernel") {
    testing::Tree tree;
    Namespaces namespaces(tree.root());
    if (!namespaces.ready()) return muster::test::skip("needs root, for namespaces");
    Running run({.root = tree.root(), .modules = false, .service = ""});
    run.peer.give_capabilities();
    const auto interface = [](const std::string& name, const std::string& admin) {
        return "<interface \"" + name + "\" 1 loopback " + admin + " " +
               (admin == "up" ? "unknown" : "down") + " carrier \"00:00:00:00:00:00\">";
    };
    const auto route = [](const std::string& name) {
        return "<route ipv4 <prefix \"10.9.8.0\" 24> 0 0 \"" + name + "\" none>";
    };
    run.until([&] { return run.peer.asserted("<interface \"lo\" 1 loopback down").size() == 1; });
    namespaces.set_up("lo", true);
    namespaces.add_route("lo");
    run.until_asserted(route("lo"));
    run.until_asserted(interface("lo", "up"));
    CHECK(run.peer.asserted("<interface ").size() == 1);
    namespaces.set_up("lo", false); // no notification for the route
    run.until([&] { return !run.peer.has(route("lo")); });
    namespaces.rename("lo", "ring");
    namespaces.set_up("ring", true);
    namespaces.add_route("ring");
    run.until_asserted(route("ring"));
    CHECK(run.peer.asserted("<interface \"ring\"").size() == 1);
    CHECK(run.peer.asserted("<interface ").size() == 1);
    CHECK(run.peer.asserted("<route ipv4 ").size() == 1);
}

TEST_CASE("daemon: after lost events the difference is told") {
    testing::Tree tree;
    Namespaces namespaces(tree.root());
    if (!namespaces.ready()) return muster::test::skip("needs root, for namespaces");
    Running run({.root = tree.root(), .modules = false, .service = "", .receive_buffer = 2304});
    run.peer.give_capabilities();
    run.until([&] { return run.peer.has(lo); });
    for (int i = 0; i < 50; ++i) {
        namespaces.rename("lo", "other");
        namespaces.rename("other", "lo");
    }
    namespaces.rename("lo", "ring");
    run.until_asserted(ring);
    run.until([&] { return !run.peer.has(lo); });
    run.until([&] { return run.peer.asserted("<interface \"ring\"").size() == 1; });
    CHECK(run.peer.asserted("<interface ").size() == 1);
    CHECK(run.peer.asserted("<device net ").size() == 1);
}

TEST_CASE("daemon: only the kernel is believed") {
    testing::Tree tree;
    Namespaces namespaces(tree.root());
    if (!namespaces.ready()) return muster::test::skip("needs root, for namespaces");
    Running run({.root = tree.root(), .modules = false, .service = ""});
    run.peer.give_capabilities();
    run.until([&] { return run.peer.has(lo); });
    const Fd liar(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT));
    sockaddr_nl group{};
    group.nl_family = AF_NETLINK;
    group.nl_groups = 1;
    const char lie[] = "remove@/devices/virtual/net/lo\0ACTION=remove\0"
                       "DEVPATH=/devices/virtual/net/lo\0SUBSYSTEM=net\0SEQNUM=1";
    REQUIRE(::sendto(liar.get(), lie, sizeof lie, 0, reinterpret_cast<const sockaddr*>(&group),
                     sizeof group) == sizeof lie);
    namespaces.rename("lo", "ring");
    run.until_asserted(ring);
    for (const std::string& what : run.peer.happened())
        CHECK_FALSE(what.starts_with("!<uevent 1 "));
}

TEST_CASE("daemon: without devices and modules coldplug is complete all the same") {
    testing::Tree tree;
    Running run({.root = tree.root(), .modules = true, .service = "<daemon netlink"});
    run.peer.give_capabilities();
    run.until([&] { return run.peer.asserted("<coldplug-complete ").size() == 1; });
    CHECK(run.peer.asserted("<device ").empty());
    CHECK(run.peer.asserted("<service-state ").empty());
}

TEST_CASE("daemon: ends with its input") {
    testing::Tree tree;
    auto loop = std::move(*EventLoop::create());
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    Fd output(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    ::close(ends[1]);
    CHECK(
        Daemon(*loop, Fd(ends[0]), std::move(output), {.root = tree.root(), .service = ""}).run() ==
        0);
}
