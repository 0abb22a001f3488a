#include "netlink/daemon.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "init/preserves/text_reader.h"
#include "netlink/records.h"
#include "netlink/say.h"

namespace muster::netlink {

using preserves::Value;

namespace {

constexpr int events_per_round = 64;

Ref<protocol::Reference> capability(const Value& dictionary, std::string_view name) {
    auto* object = dictionary.view().get(name).as_embedded();
    return Ref<protocol::Reference>(static_cast<protocol::Reference*>(object));
}

} // namespace

Daemon::Daemon(EventLoop& loop, Fd input, Fd output, Options options)
    : loop_(loop), options_(std::move(options)), client_(std::move(input), std::move(output)),
      sysfs_(options_.root + "/sys") {}

void Daemon::finish(int status) {
    status_ = status;
    loop_.stop();
}

int Daemon::run() {
    if (Result<> started = start(); !started) {
        say(started.error().message);
        return 1;
    }
    loop_.run();
    return status_;
}

Result<> Daemon::start() {
    const int flags = ::fcntl(client_.output_fd(), F_GETFL);
    ::fcntl(client_.output_fd(), F_SETFL, flags | O_NONBLOCK);
    client_.export_entity(
        {.asserted = [this](const Value& value, Client::Handle) { on_capabilities(value); },
         .retracted = {},
         .message = {}});
    if (options_.resumable)
        client_.set_resumable(
            [this] { begin_anew(); },
            [](std::string_view line) { say("ignored: " + std::string(line.substr(0, 200))); });

    constexpr unsigned kernels = 1; // 2 is udev's
    auto uevents =
        KernelSocket::open(NETLINK_KOBJECT_UEVENT, {&kernels, 1}, true, options_.receive_buffer);
    if (uevents)
        uevents_ = std::move(*uevents);
    else
        say("uevents: " + uevents.error().message + ": devices that come and go are not seen");

    auto input_watch = loop_.watch(client_.input_fd(), EPOLLIN, [this](uint32_t) { on_input(); });
    if (!input_watch) return input_watch.error().with_context("stdin");
    input_watch_ = std::move(*input_watch);
    // Reading and writing is done by `work`; the watches only wake it.
    if (auto watch = loop_.watch(client_.output_fd(), 0, [](uint32_t) {}))
        output_watch_ = std::move(*watch);
    loop_.set_after_round([this] { return work(); });
    return {};
}

void Daemon::on_input() {
    Result<bool> received = client_.receive();
    if (received && *received) return;
    if (!received) say(received.error().message);
    finish(received ? 0 : 1);
}

// The second stage is another one, which knows nothing: when it has granted its capabilities, all
// is read and said again.
void Daemon::begin_anew() {
    was_complete_ = was_complete_ || stage_ == Stage::complete;
    stage_ = Stage::waiting;
    uevent_watch_.cancel();
    network_watch_.cancel();
    network_.reset();
    devices_.reset();
    machine_.reset();
    config_ = {};
    awaited_.reset();
    not_ours_.cancel();
}

void Daemon::on_capabilities(const Value& dictionary) {
    const auto machine = capability(dictionary, "machine");
    if (stage_ != Stage::waiting || !machine) return;
    machine_.emplace(client_, machine);
    if (options_.modules && !modules_) {
        utsname system{};
        ::uname(&system);
        modules_.emplace(options_.root, system.release,
                         [this](const ModuleToLoad& module) { return loader_.load(module); });
    }
    devices_.emplace(sysfs_, *machine_, [this](std::string_view device, std::string_view modalias) {
        if (modules_) modules_->request(device, modalias);
    });
    stage_ = Stage::coldplugging;
    if (!sysfs_.available()) say(options_.root + "/sys: cannot be read: no devices from there");
    scan();
    if (uevents_) {
        auto watch = loop_.watch(uevents_->fd(), EPOLLIN, [](uint32_t) {});
        if (watch) uevent_watch_ = std::move(*watch);
    }

    network_.emplace(*machine_, options_.root + "/sys", options_.receive_buffer);
    if (Result<> started = network_->start(); !started)
        say(started.error().message + ": links and routes are not seen");
    else if (auto watch = loop_.watch(network_->fd(), EPOLLIN, [](uint32_t) {}))
        network_watch_ = std::move(*watch);
    config_ = capability(dictionary, "config");
    // What waits for it must not be told that it is not so for a moment.
    if (was_complete_) complete();
}

void Daemon::scan() {
    // What events up to this one told is in what the scan finds.
    handled_ = std::max(handled_, sysfs_.last_seqnum());
    devices_->scan([this] { send_all(); });
}

bool Daemon::handle_events() {
    char buffer[8192]; // an event has at most 2048 bytes of keys, and the path
    for (int i = 0; uevents_ && i < events_per_round; ++i) {
        std::string_view message;
        switch (uevents_->receive(buffer, message)) {
        case KernelSocket::Received::message: {
            const auto event = parse_uevent(message);
            if (!event) {
                say(event.error().message);
                break;
            }
            devices_->handle(*event);
            handled_ = std::max(handled_, event->seqnum);
            break;
        }
        case KernelSocket::Received::lost:
            lost_ = true;
            break;
        case KernelSocket::Received::empty:
            return false;
        case KernelSocket::Received::failed:
            say(system_error("uevents: receive", errno).message);
            uevent_watch_.cancel();
            uevents_.reset();
            return false;
        }
    }
    return uevents_.has_value();
}

bool Daemon::work() {
    if (stage_ == Stage::waiting) {
        send();
        return false;
    }
    bool more = false;
    if (!blocked_) {
        more = handle_events();
        if (network_->running() && network_->handle()) more = true;
        if (!network_->running()) network_watch_.cancel();
        if (!more && std::exchange(lost_, false)) {
            say("uevents: the kernel dropped events; reading /sys again");
            scan();
            more = true;
        }
        if (!more && modules_ && modules_->step()) {
            awaited_.reset();
            not_ours_.cancel();
            more = true;
        }
        if (!more && stage_ == Stage::coldplugging && all_handled()) complete();
    }
    send();
    return more && !blocked_;
}

// Whether every event that was made up to now has been handled; asked when nothing is left to load
// and no event is waiting.
bool Daemon::all_handled() {
    // Without modules nothing came of what the scan found.
    if (!modules_) return true;
    if (!awaited_) awaited_ = sysfs_.last_seqnum();
    if (handled_ >= *awaited_ || !uevents_) return true;
    // The kernel counts an event just before it sends it, so this one is on its way: it wakes us.
    // Or it belongs to another network namespace and never comes; nothing but time tells.
    if (!not_ours_.pending())
        not_ours_ = loop_.after(100 * millisecond, [this] { handled_ = *awaited_; });
    return false;
}

void Daemon::complete() {
    stage_ = Stage::complete;
    not_ours_.cancel();
    machine_->assert_(coldplug_complete_record(handled_));
    // Not before: what one of us that crashed had said stays until we are ready, and with it what
    // depends on <coldplug-complete …>.
    if (!config_ || options_.service.empty()) return;
    auto service = preserves::parse_text(options_.service);
    if (!service) return say("MUSTER_SERVICE: " + service.error().message);
    client_.assert_(config_,
                    preserves::record("service-state", {*service, preserves::symbol("ready")}));
}

void Daemon::send() {
    const Result<bool> sent = client_.flush();
    if (!sent) {
        // At the end of the connection its input says so, which is no error.
        pollfd input{.fd = client_.input_fd(), .events = POLLIN, .revents = 0};
        const bool ended = ::poll(&input, 1, 0) == 1 && (input.revents & POLLHUP) != 0;
        if (!ended) say(sent.error().message);
        return finish(ended ? 0 : 1);
    }
    if (blocked_ == !*sent) return;
    blocked_ = !*sent;
    const uint32_t in = EPOLLIN, out = EPOLLOUT;
    output_watch_.want(blocked_ ? out : 0);
    uevent_watch_.want(blocked_ ? 0 : in);
    network_watch_.want(blocked_ ? 0 : in);
}

void Daemon::send_all() {
    while (status_ == 0) {
        send();
        if (!blocked_) return;
        pollfd output{.fd = client_.output_fd(), .events = POLLOUT, .revents = 0};
        ::poll(&output, 1, -1);
    }
}

} // namespace muster::netlink
