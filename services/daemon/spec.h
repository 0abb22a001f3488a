// What a `<daemon ID SPEC>` says (reference 3.4, and fields of our own).
//
//   SPEC = "shell command"                    run by sh -c
//        | ["program" "argument" …]
//        | <one-shot COMMAND>                 either of the above; runs once, again if it fails
//        | { argv: COMMAND  …fields… }
//
//   field         value                         default   means
//   env           {NAME: "value" or #f}         {}        set or leave out (NAME string or symbol)
//   dir           "path"                        "/"       working directory
//   clearEnv      #t #f                         #f        nothing but `env` in the environment
//   readyOnStart  #t #f                         #t        ready as soon as it runs; #f if `notify`
//   restart       always on-error all never     always    what its end means (instance.h)
//   protocol      none application/syndicate text/syndicate   none   what it speaks on its stdio
//   resume        #t #f                         #f        it can go on after a new second stage
//   notify        descriptor number >= 3        none      it writes a newline there when it is
//                                                             ready
//   grant         {name: value}                 {}        more in its first dictionary
//   linger        seconds, 0 to 86400           0         how long what it asserted stays when it
//                                                         ended by itself, at most until its
//                                                         successor is ready; 5 if `resume`
//   stopTimeout   seconds, 0 to 86400           10        from the stop signal to SIGKILL
//   stopSignal    TERM, SIGTERM, …              TERM      what asks it to stop
//
// A field that is not in this list is a remark, not an error: other implementations may know it.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "init/base/result.h"
#include "init/preserves/value.h"

namespace muster::services {

using preserves::Value;
using preserves::View;

enum class Restart : uint8_t { always, on_error, all, never };
enum class Protocol : uint8_t { none, packed, text };

struct DaemonSpec {
    struct Variable {
        std::string name;
        std::string value;
        bool removed = false;
    };

    std::vector<std::string> argv;
    std::vector<Variable> env;
    std::string dir = "/";
    bool clear_env = false;
    bool ready_on_start = true;
    Restart restart = Restart::always;
    Protocol protocol = Protocol::none;
    bool resume = false;
    uint64_t linger = 0; // nanoseconds
    int notify = -1;
    Value grant;                            // a dictionary, or invalid
    uint64_t stop_timeout = 10'000'000'000; // nanoseconds
    int stop_signal = 15;
    std::vector<std::string> remarks; // one line each, without the daemon's name
};

// Errors name the field and what it should be: "stopTimeout: "soon" is not a number of seconds".
Result<DaemonSpec> parse_spec(View spec);

// The environment of its processes, "NAME=value": PATH, HOME=/root, TERM=linux and
// MUSTER_SERVICE=`service` (the text of `<daemon ID>`) unless clearEnv, then what `env` says. What
// the second stage itself was started with is not passed on.
std::vector<std::string> environment_of(const DaemonSpec& spec, const std::string& service);
// The value of PATH in such an environment, or the usual one.
std::string path_of(const std::vector<std::string>& environment);

} // namespace muster::services
