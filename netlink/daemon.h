// What the program does, from its first look at the dataspace to the end of its input.
//
//   waiting for $machine    the event socket is open already, so nothing is missed
//   scanning                /sys is read, every device asserted
//   coldplugging            events are handled; for devices without a driver modules are loaded,
//   one
//                           after the other, and what they bring is handled, until nothing is left
//                           to load and every event up to the last load has been handled
//   complete                <coldplug-complete SEQNUM> is asserted, and that we are ready; the rest
//                           goes on as before
// After lost events, /sys is read again when those that were not lost have been handled: an old
// `remove` must not undo what the scan found.
//
// With another second stage (`<resume EPOCH>`) it goes back to waiting for $machine; what it said
// is said again.
//
// While the other side does not read, no event is read either: the kernel keeps them, in bounds,
// and when it keeps no more we read /sys.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "init/base/event_loop.h"
#include "netlink/devices.h"
#include "netlink/kernel_socket.h"
#include "netlink/module_loader.h"
#include "netlink/modules.h"
#include "netlink/network.h"
#include "netlink/publisher.h"
#include "netlink/sysfs.h"

namespace muster::netlink {

class Daemon {
  public:
    struct Options {
        std::string root;       // put in front of /sys, /lib/modules and /etc; for tests
        bool modules = false;   // load modules
        std::string service;    // text of what we are as a service; empty: say nothing of readiness
        bool resumable = false; // speak text, and go on with another second stage
        int receive_buffer = KernelSocket::default_buffer; // bytes
    };

    // `input` and `output` are the connection to the dataspace, which asserts the dictionary of
    // capabilities at our entity 0. `output` is made non-blocking.
    Daemon(EventLoop& loop, Fd input, Fd output, Options options);

    // Begins; the loop does the rest.
    // ERRORS: the input cannot be waited for.
    Result<> start();
    // Starts and runs the loop until the input ends. Gives the program's exit status.
    int run();

  private:
    enum class Stage : uint8_t { waiting, coldplugging, complete };

    void begin_anew();
    void on_capabilities(const preserves::Value& dictionary);
    void on_input();
    bool work(); // after each round; true if there is more to do at once
    bool handle_events();
    void scan();
    bool all_handled();
    void complete();
    void send();
    void send_all();
    void finish(int status);

    EventLoop& loop_;
    Options options_;
    Client client_;
    Sysfs sysfs_;
    std::optional<KernelSocket> uevents_;
    Watch input_watch_;
    Watch output_watch_;
    Watch uevent_watch_;
    Watch network_watch_;
    std::optional<Publisher> machine_;
    Ref<protocol::Reference> config_; // to say there that we are ready; null: not to be said
    std::optional<Devices> devices_;
    std::optional<Network> network_;
    ModuleLoader loader_;
    std::optional<Modules> modules_;
    Stage stage_ = Stage::waiting;
    uint64_t handled_ = 0; // every event up to this number is, as far as it was sent to us
    // Once there is nothing left to load: the last event that had been made by then.
    std::optional<uint64_t> awaited_;
    Timer not_ours_;
    bool lost_ = false;
    bool blocked_ = false;      // the other side does not read
    bool was_complete_ = false; // before the second stage was another one
    int status_ = 0;
};

} // namespace muster::netlink
