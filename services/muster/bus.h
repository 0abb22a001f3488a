// A connection to the system bus, for one command.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "init/base/event_loop.h"
#include "init/protocol/client.h"

namespace muster::command {

using preserves::Value;
using preserves::View;

// A stream to the bus itself, or to `what` else there is at `path`. ERRORS: nobody listens there,
// no permission.
Result<Fd> connect_to_bus(const std::string& path, const std::string& what = "the system bus");

class Bus {
  public:
    // Connects, and learns what capabilities there are.
    // A peer that the bus does not take for root's finds none, and `root()` is `$status`.
    // Where a socket is and nobody listens, a second stage is being started: that is waited for, a
    // moment; where no socket is, for `absence` nanoseconds; for an answer, of a second stage that
    // hangs or for whom init keeps the socket, `patience`, which is said after 3 s. ERRORS: as
    // connect_to_bus; no answer; the connection ends (no text, if `repeat`).
    static constexpr uint64_t silence = 3 * second;
    static Result<std::unique_ptr<Bus>> connect(const std::string& path, bool repeat = false,
                                                uint64_t absence = 0,
                                                uint64_t patience = 30 * second);
    // After one was lost: that of a successor takes its place at once, if there is to be one.
    static constexpr uint64_t replaced = second;

    // Resolves a capability instead, which takes the place of `$config`: follows the steps from
    // the gatekeeper at one of the transports, or from the bus's if there are none. `route` is
    // `<route [TRANSPORT…] STEP…>`. Waits for what is not bound yet until `deadline`, as below.
    // ERRORS: nobody is there; a step is rejected (with the detail); it is too late.
    static Result<std::unique_ptr<Bus>> resolve(const std::string& path, View route,
                                                uint64_t deadline);

    // The connection ended while it was used: the second stage was started again. Then the errors
    // of `run_until` and what builds on it have no text, if `expect_loss` was called before: the
    // caller connects anew and repeats what it did.
    bool lost() const { return lost_; }
    void expect_loss() { loss_expected_ = true; }

    protocol::Client& client() { return client_; }
    const Ref<protocol::Reference>& config() const { return config_; }
    // `$machine`, `$status`, `$log`, `$system`, `$config` by name; null if it was not granted.
    Ref<protocol::Reference> capability(const std::string& name) const;
    // Whether `$config` was granted. If not, it is `$status` that everybody gets.
    bool is_root() const { return !capabilities_.empty(); }

    // Sends what is buffered and handles what comes until `done` is true. `deadline`: monotonic
    // nanoseconds, 0 for none; false if it passed first.
    Result<bool> run_until(const std::function<bool()>& done, uint64_t deadline = 0);
    // Sends what is buffered, as far as there is room.
    Result<> flush();
    // Handles what has come; to be called when `client().input_fd()` can be read.
    Result<> receive();
    // Waits until the other side has handled everything sent so far. `deadline` as above.
    Result<> settle();
    Result<bool> settle_until(uint64_t deadline);

    // What matches `pattern` (a wire pattern) in the dataspaces of these names, now.
    Result<std::vector<Value>> query(const std::vector<std::string>& spaces, const Value& pattern);

  private:
    Result<> follow(View step, uint64_t deadline);

    explicit Bus(Fd socket) : client_(std::move(socket), Fd()) {}

    protocol::Client client_;
    Ref<protocol::Reference> config_;
    std::map<std::string, Ref<protocol::Reference>> capabilities_;
    Error loss(Error error);
    bool lost_ = false;
    bool loss_expected_ = false;
    bool withdrawn_ = false; // what was resolved
};

// Assertions that match a pattern in several dataspaces, each value once: `appeared` when it is in
// the first of them, `gone` when it has left the last. Messages come as they are.
class Follower : public Counted {
  public:
    struct Events {
        std::function<void(View)> appeared;
        std::function<void(View)> gone;
        std::function<void(View)> message;
    };
    static Ref<Follower> start(Bus& bus, const std::vector<std::string>& spaces,
                               const Value& pattern, Events events);
    // Observes no more; no event comes after this.
    void stop(Bus& bus);

  private:
    Events events_;
    std::vector<protocol::Client::Handle> observations_;
    std::map<std::pair<size_t, uint64_t>, Value> by_handle_; // (dataspace, handle)
    std::map<std::string, size_t> copies_;                   // by canonical bytes
};

} // namespace muster::command
