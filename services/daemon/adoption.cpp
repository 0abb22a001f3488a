#include "services/daemon/adoption.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace muster::services {

namespace {

// Of a socket that nobody listens on any more.
void remove_file(int fd) {
    sockaddr_un address{};
    socklen_t size = sizeof address;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0 &&
        address.sun_family == AF_UNIX && address.sun_path[0] == '/')
        ::unlink(address.sun_path);
}

} // namespace

Result<std::unique_ptr<Adoption>> Adoption::begin(EventLoop& loop, SecondStageLink& link) {
    std::unique_ptr<Adoption> adoption(new Adoption(loop, link));
    auto kept = link.collect();
    if (!kept) return kept.error();
    adoption->kept_ = std::move(*kept);
    return adoption;
}

Result<> Adoption::adopt(Processes& processes) {
    if (!link_.attached()) return {};
    Result<> problem;
    bool first = link_.welcome().starts == 0;
    if (Fd memory = take_named(Ledger::kept_name); memory && !first) {
        auto ledger = Ledger::take_over(std::move(memory));
        if (ledger)
            ledger_ = std::move(*ledger);
        else
            problem = ledger.error();
    }
    for (Ledger::Record* record : ledger_.all())
        entries_.emplace_back(ledger_, record);
    processes.adopt(std::move(kept_.slots));
    for (const records::Status& status : kept_.statuses)
        if (auto handled = processes.on_status(status); !handled) problem = handled;
    if (ledger_) return problem;
    (void)link_.drop_fd(Ledger::kept_name); // there may be none
    auto ledger = Ledger::create(link_);
    if (!ledger) return ledger.error();
    ledger_ = std::move(*ledger);
    return problem;
}

Fd Adoption::take_named(std::string_view name) {
    auto found = kept_.named.find(name);
    if (found == kept_.named.end()) return {};
    Fd fd = std::move(found->second);
    kept_.named.erase(found);
    return fd;
}

std::vector<std::pair<std::string, Fd>> Adoption::take_all_named(std::string_view prefix) {
    std::vector<std::pair<std::string, Fd>> found;
    auto each = kept_.named.lower_bound(prefix);
    while (each != kept_.named.end() && each->first.starts_with(prefix)) {
        found.emplace_back(each->first, std::move(each->second));
        each = kept_.named.erase(each);
    }
    return found;
}

FdKeeper Adoption::keeper() {
    return {.take = [this](const std::string& name) { return take_named(name); },
            .store = [this](const std::string& name, int fd) { return keep_named(name, fd); },
            .drop = [this](const std::string& name) { drop_named(name); }};
}

void Adoption::hold(std::function<void()> action) {
    release_ = std::move(action);
    limit_ = loop_.after(longest_hold, [this] { release(); });
    consider();
}

void Adoption::configuration_loaded() {
    loaded_ = true;
    consider();
}

void Adoption::consider() {
    if (!holding() || !loaded_ || peers_missing_ > 0) {
        quiet_.cancel();
        return;
    }
    if (!quiet_.pending()) quiet_ = loop_.after(quiet, [this] { release(); });
}

void Adoption::release() {
    quiet_.cancel();
    limit_.cancel();
    released_ = true;
    auto action = std::move(release_);
    release_ = nullptr;
    if (action) action();
    for (const auto& [name, fd] : kept_.named) {
        remove_file(fd.get());
        (void)link_.drop_fd(name);
    }
    kept_.named.clear();
}

} // namespace muster::services
