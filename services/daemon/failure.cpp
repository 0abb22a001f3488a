#include "services/daemon/failure.h"

#include <sys/wait.h>

#include "init/preserves/encoder.h"
#include "services/daemon/carried.h"
#include "services/log/files.h"
#include "services/process/process.h"

namespace muster::services {

namespace {

std::string_view kind_name(Failure::Kind kind) {
    switch (kind) {
    case Failure::Kind::exit:
        return "exit";
    case Failure::Kind::signal:
        return "signal";
    case Failure::Kind::oom:
        return "oom";
    case Failure::Kind::time_limit:
        return "time-limit";
    case Failure::Kind::start:
        return "start";
    case Failure::Kind::protocol:
        return "protocol";
    case Failure::Kind::not_well:
        return "not-well";
    }
    return "start";
}

} // namespace

Failure failure_of(int wait_status, bool oom) {
    Failure failure;
    failure.wait_status = wait_status;
    failure.how = describe_wait_status(wait_status);
    failure.kind = oom                      ? Failure::Kind::oom
                   : WIFEXITED(wait_status) ? Failure::Kind::exit
                                            : Failure::Kind::signal;
    if (oom) failure.how += ", out of memory";
    return failure;
}

preserves::Value failure_record(const preserves::Value& service, const Failure& failure) {
    preserves::Encoder out;
    out.begin_record();
    out.symbol("failure");
    out.value(service);
    out.begin_dictionary();
    out.symbol("time");
    out.string(logs::time_text(failure.time_us));
    out.symbol("how");
    out.value(text_value(failure.how));
    out.symbol("kind");
    out.symbol(kind_name(failure.kind));
    bool ended = failure.kind <= Failure::Kind::time_limit;
    if (ended && WIFEXITED(failure.wait_status)) {
        out.symbol("code");
        out.integer(WEXITSTATUS(failure.wait_status));
    } else if (ended && WIFSIGNALED(failure.wait_status)) {
        out.symbol("signal");
        out.symbol(signal_name(WTERMSIG(failure.wait_status)));
        if (WCOREDUMP(failure.wait_status)) {
            out.symbol("core");
            out.boolean(true);
        }
    }
    out.symbol("lines");
    out.begin_sequence();
    for (const std::string& line : failure.lines)
        out.value(text_value(line));
    out.end();
    out.symbol("count");
    out.integer(static_cast<int64_t>(failure.count));
    if (failure.next_us != 0) {
        out.symbol("next");
        out.string(logs::time_text(failure.next_us));
    }
    out.end();
    out.end();
    return *out.finish();
}

} // namespace muster::services
