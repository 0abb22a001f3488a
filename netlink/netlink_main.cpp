// `netlink`: publishes devices, links and routes, and loads the modules that devices ask for.
// Started by the second stage, with the protocol on stdin and stdout.
#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <new>
#include <string_view>

#include "netlink/daemon.h"
#include "netlink/say.h"

namespace {

constexpr const char* usage =
    "usage: netlink [--modules] [--resumable] [--root DIR]\n"
    "\n"
    "Publishes devices, links and routes over the protocol on standard input and output.\n"
    "\n"
    "      --modules   load the modules that devices ask for\n"
    "      --resumable speak text, and go on when the other side is replaced\n"
    "      --root DIR  where sys, lib/modules and etc are found, instead of /\n"
    "  -h, --help      this text\n"
    "  -V, --version   the version\n";

} // namespace

// malloc as it is, in place of the pools that init/base/pool.cpp has for the dataspace: those give
// each size of block pages of its own, a third of all that this program needs.
void* operator new(size_t size) {
    void* block = std::malloc(size == 0 ? 1 : size);
    if (!block) std::abort(); // the supervisor starts us again, and /sys tells all
    return block;
}
void* operator new[](size_t size) { return operator new(size); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return std::malloc(size); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return std::malloc(size); }
void operator delete(void* block) noexcept { std::free(block); }
void operator delete[](void* block) noexcept { std::free(block); }
void operator delete(void* block, size_t) noexcept { std::free(block); }
void operator delete[](void* block, size_t) noexcept { std::free(block); }

int main(int argc, char** argv) {
    using namespace muster;
    netlink::Daemon::Options options;
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        if (word == "--modules") {
            options.modules = true;
        } else if (word == "--resumable") {
            options.resumable = true;
        } else if (word == "--root" && i + 1 < argc) {
            options.root = argv[++i];
        } else if (word == "-h" || word == "--help") {
            std::fputs(usage, stdout);
            return 0;
        } else if (word == "-V" || word == "--version") {
            std::puts("netlink (muster) 0.1");
            return 0;
        } else {
            bool bare = word == "--root";
            netlink::say("netlink: " +
                         (bare ? std::string("--root needs an argument")
                               : "unknown argument " + std::string(word)) +
                         "; see netlink --help");
            return 2;
        }
    }
    if (const char* service = ::getenv("MUSTER_SERVICE")) options.service = service;
    ::signal(SIGPIPE, SIG_IGN);
    auto loop = EventLoop::create();
    if (!loop) {
        netlink::say(loop.error().message);
        return 1;
    }
    return netlink::Daemon(**loop, Fd(0), Fd(1), std::move(options)).run();
}
