// Runs a package's script inside a root that is being made, and nowhere else. Host only.
//
// The script gets namespaces of its own (mounts, processes, IPC, host name, network; users too
// unless we are root), the root as its root with a small /dev and a /proc, no capability to touch
// devices, mounts, modules, clock or network, and apk's environment. When it ends, or its time is
// over, all that it started ends with it.
// Source: namespaces(7), pivot_root(2), capabilities(7); shared/reference/alpine.md section 1.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "init/base/result.h"

namespace muster::apk {

// The kernel takes its time to take the namespaces of a script that has ended apart. Nobody waits
// for that before this goes.
class Leftovers {
  public:
    Leftovers() = default;
    Leftovers(const Leftovers&) = delete;
    Leftovers& operator=(const Leftovers&) = delete;
    ~Leftovers();
    void add(pid_t child) { children_.push_back(child); }

  private:
    std::vector<pid_t> children_;
};

// PROGRAM is a path inside ROOT. Its output goes to our standard error. The exit status, 128 and
// the signal if one killed it; an error if it could not be started or took longer than SECONDS.
Result<int> run_in_root(const std::string& root, const std::string& program,
                        const std::vector<std::string>& arguments, Leftovers& leftovers,
                        int seconds = 600);

} // namespace muster::apk
