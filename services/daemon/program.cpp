#include "services/daemon/program.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace muster::services {

Result<PipeEnds> make_pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) < 0) return system_error("pipe", errno);
    return PipeEnds{Fd(ends[0]), Fd(ends[1])};
}

Result<> prepare_program(Program& program, const Processes& processes, const DaemonSpec& spec,
                         const std::string& service, const Command& argv, bool streams,
                         const std::vector<std::string>& environment) {
    const RareFields& rare = spec.more();
    SpawnRequest& request = program.request;
    request.environment = environment_of(spec, service);
    request.environment.insert(request.environment.end(), environment.begin(), environment.end());
    request.path = path_of(request.environment);
    request.pid_namespace = rare.pid_namespace;
    for (const RareFields::CgroupSetting& setting : rare.cgroup) {
        std::string value = setting.value;
        if (!setting.device.empty()) {
            struct stat about {};
            if (::stat(setting.device.c_str(), &about) != 0)
                return system_error(setting.device, errno);
            if (!S_ISBLK(about.st_mode)) return Error{setting.device + ": not a block device"};
            value = std::to_string(major(about.st_rdev)) + ":" +
                    std::to_string(minor(about.st_rdev)) + value;
        }
        request.cgroup_settings.emplace_back(setting.file, std::move(value));
    }
    if (rare.stub.empty() && (!streams || rare.streams.empty())) {
        request.argv = argv;
        request.directory = spec.dir;
        return {};
    }
    if (processes.exec_stub().empty())
        return Error{"this needs `init --exec`, and init is not beside us"};
    auto report = make_pipe();
    if (!report) return report.error();
    int number = 3;
    for (const SpawnRequest::Handed& each : request.handed)
        number = std::max(number, each.number + 1);
    request.handed.push_back({report->write.get(), number});
    program.child.push_back(std::move(report->write));
    program.report = std::move(report->read);
    ::fcntl(program.report.get(), F_SETFL, O_NONBLOCK);

    request.argv = processes.exec_stub();
    auto add = [&](const std::vector<std::string>& words) {
        request.argv.insert(request.argv.end(), words.begin(), words.end());
    };
    add({"--error-fd", std::to_string(number)});
    if (streams) add(rare.streams);
    add(rare.stub);
    add({"--dir", spec.dir, "--"});
    add(argv);
    return {};
}

std::optional<Error> read_report(int report) {
    records::ExecFailure failure{};
    ssize_t size = ::read(report, &failure, sizeof failure);
    if (size < 0) return {}; // not yet
    if (size == 0) return Error{};
    if (size != sizeof failure || failure.magic != records::kMagic)
        return Error{"init --exec: a report that is none"};
    failure.step[sizeof failure.step - 1] = '\0';
    if (failure.error_number == 0) return Error{failure.step};
    return system_error(failure.step, failure.error_number);
}

} // namespace muster::services
