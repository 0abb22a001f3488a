#include "services/system/check.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "init/config/file_tree.h"
#include "init/config/script.h"
#include "init/config/watcher.h"
#include "init/records.h"
#include "services/daemon/ledger.h"
#include "services/daemon/spec.h"
#include "services/tracker/check_tie.h"

namespace muster::services {

namespace {

Result<std::string> read_script(const std::string& path) {
    Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!file) return system_error(path, errno);
    std::string text;
    char buffer[4096];
    for (;;) {
        ssize_t size = ::read(file.get(), buffer, sizeof buffer);
        if (size < 0) return system_error(path, errno);
        if (size == 0) return text;
        text.append(buffer, static_cast<size_t>(size));
        if (text.size() > config::max_script_size) return Error{path + ": too large"};
    }
}

} // namespace

std::vector<std::pair<View, std::string>> check_configured(View assertion) {
    auto wrong = check_assertion(assertion);
    return wrong.empty() ? check_tie(assertion) : wrong;
}

int check(const Options& options) {
    size_t problems = 0;
    auto say = [&](const std::string& line) {
        std::fprintf(stderr, "dataspace: %s\n", line.c_str());
        ++problems;
    };
    if (options.records != 0 && options.records != records::kVersion)
        say("init speaks version " + std::to_string(options.records) +
            " of the records, we speak " + std::to_string(records::kVersion));
    if (options.ledger != 0 && options.ledger != Ledger::version)
        say("the ledger of the second stage that runs is of version " +
            std::to_string(options.ledger) + ", ours is " + std::to_string(Ledger::version));
    for (const std::string& path : options.configs) {
        config::FileTree tree(path);
        for (const std::string& file : tree.rescan().changed) {
            auto text = read_script(file);
            if (!text) {
                say(text.error().message);
                continue;
            }
            std::vector<config::Problem> wrong;
            size_t slash = file.rfind('/');
            (void)config::Script::parse(*text, file, file.substr(0, slash), wrong,
                                        check_configured);
            for (const config::Problem& each : wrong)
                say(config::to_string(each));
        }
    }
    if (problems > 0) return 1;
    // Any program may end with 0.
    if (options.records != 0) std::puts(takes_over(options.records, options.ledger).c_str());
    return 0;
}

} // namespace muster::services
