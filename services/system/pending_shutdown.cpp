#include "services/system/pending_shutdown.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "init/base/fd.h"
#include "init/base/files.h"
#include "init/preserves/encoder.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"

namespace muster::services {

using dataspace::Turn;
using preserves::Value;
using preserves::View;

namespace {

constexpr size_t longest = 4096; // bytes of text

// The words of the service that waits for it; empty if that is no request.
std::vector<std::string> words_of(View request) {
    auto action = request.at(0).as_symbol();
    auto message = request.at(2).as_string();
    auto who = request.at(3).as_string();
    auto seconds = request.at(1).at(0).as_int();
    bool at = request.at(1).is_record("at", 1);
    if (!request.is_record("shutdown", 4) || !action || !message || !who || !seconds) return {};
    if (*action != "poweroff" && *action != "reboot" && *action != "halt") return {};
    if (!at && !request.at(1).is_record("in", 1)) return {};
    if (message->size() + who->size() > longest / 2) return {};
    return {"muster",
            "shutdown",
            "--pending",
            std::string(*action),
            at ? "at" : "in",
            std::to_string(*seconds),
            std::string(*message)};
}

Value service() { return preserves::record("daemon", {preserves::symbol("shutdown")}); }

Value specification(const std::vector<std::string>& words) {
    preserves::Encoder out;
    out.begin_dictionary();
    out.symbol("argv");
    out.begin_sequence();
    for (const std::string& word : words)
        out.string(word);
    out.end();
    out.symbol("restart");
    out.symbol("on-error");
    out.end();
    return *out.finish();
}

} // namespace

Result<> PendingShutdown::load(Turn& turn) {
    if (path_.empty()) return {};
    Fd file(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return errno == ENOENT ? Result<>() : system_error(path_, errno);
    char text[longest];
    ssize_t size = ::read(file.get(), text, sizeof text);
    if (size < 0) return system_error(path_, errno);
    auto request = preserves::parse_text({text, static_cast<size_t>(size)});
    if (!request) return request.error().with_context(path_);
    Result<> begun = begin(turn, *request);
    if (!begun) return begun.error().with_context(path_);
    return {};
}

Result<> PendingShutdown::begin(Turn& turn, View request) {
    std::vector<std::string> words = words_of(request);
    if (words.empty())
        return Error{"not a shutdown at a later time: " + preserves::to_text(request)};
    std::vector<dataspace::Handle> before = std::move(asserted_);
    Value pending = preserves::record("pending-shutdown",
                                      {request.at(0), request.at(1), request.at(2), request.at(3)});
    asserted_ = {turn.assert_(config_, pending), turn.assert_(status_, pending),
                 turn.assert_(config_, preserves::record("daemon", {service().view().at(0),
                                                                    specification(words)})),
                 turn.assert_(config_, preserves::record("require-service", {service()}))};
    for (dataspace::Handle handle : before)
        turn.retract(handle);
    return {};
}

Result<> PendingShutdown::set(Turn& turn, View request) {
    Result<> begun = begin(turn, request);
    if (!begun) return begun;
    // Whoever had the service stopped wanted the one before not to happen.
    turn.message(config_, preserves::record("release-service", {service()}));
    if (path_.empty()) return {};
    std::string text = preserves::to_text(request) + "\n";
    Result<> kept = replace_file(path_, text);
    return kept ? kept : kept.error().with_context(path_ + ": the pending shutdown is not kept");
}

bool PendingShutdown::cancel(Turn& turn) {
    bool any = !asserted_.empty();
    for (dataspace::Handle handle : asserted_)
        turn.retract(handle);
    asserted_.clear();
    if (!path_.empty()) ::unlink(path_.c_str());
    return any;
}

} // namespace muster::services
