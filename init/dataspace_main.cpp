// `dataspace`, the second stage: one process with one thread that keeps the assertions, runs the
// configuration scripts, listens on the bus and supervises the services. init starts it with
// --system; it also runs by itself. services/system/stage.h is what it consists of.
#include <sys/resource.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>

#include "services/system/check.h"
#include "services/system/options.h"
#include "services/system/stage.h"

namespace {

using namespace muster;

[[noreturn]] void die(const Error& error, int status = 1) {
    std::fprintf(stderr, "dataspace: %s\n", error.message.c_str());
    std::exit(status);
}

template <typename T>
T value_or_die(Result<T> result) {
    if (!result) die(result.error());
    return *std::move(result);
}

// A service takes several descriptors. After the Spawner is made: services keep the usual limit.
void allow_many_files() {
    constexpr rlim_t many = 65536;
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= many) return;
    rlimit wanted{many, limit.rlim_max < many ? many : limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &wanted) == 0) return;
    limit.rlim_cur = limit.rlim_max; // what we may
    setrlimit(RLIMIT_NOFILE, &limit);
}

} // namespace

int main(int argc, char** argv) {
    Result<services::Options> options = services::parse_options(argc, argv);
    if (!options) die(Error{options.error().message + "; see dataspace --help"}, 2);
    if (options->ask == services::Options::Ask::help) {
        std::fputs(services::options_help, stdout);
        return 0;
    }
    if (options->ask == services::Options::Ask::version) {
        std::puts("dataspace (muster) 0.1");
        return 0;
    }
    if (options->ask == services::Options::Ask::check) return services::check(*options);
    auto link = value_or_die(options->init_fd >= 0 ? SecondStageLink::connect(options->init_fd)
                                                   : SecondStageLink::standalone());
    std::unique_ptr<EventLoop> loop = value_or_die(EventLoop::create());
    std::string remark;
    std::unique_ptr<services::Processes> processes =
        value_or_die(services::Processes::create(*loop, link, &remark));
    if (!remark.empty()) std::fprintf(stderr, "dataspace: %s\n", remark.c_str());
    allow_many_files();
    std::unique_ptr<services::Adoption> adoption =
        value_or_die(services::Adoption::begin(*loop, link));
    if (auto adopted = adoption->adopt(*processes); !adopted)
        std::fprintf(stderr, "dataspace: %s\n", adopted.error().message.c_str());
    // For the bus and the overrides. What it is needed for says so if it could not be made.
    if (options->system) mkdir("/run/muster", 0755);
    services::SecondStage stage(*loop, link, *processes, *adoption, *options);
    int status = value_or_die(stage.run());
    // What the kernel frees at once need not be taken apart, but processes are ended in order.
    // Those of a system are init's to end, or our successor's to go on with.
    if (!link.attached()) processes.reset();
    std::_Exit(status);
}
