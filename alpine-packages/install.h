// Installs packages into an empty root, with the database of apk, so that the real apk goes on
// from there. Host only.
//
// All packages are there, verified, and no file is in two of them unlawfully, before the first
// byte is written. Then for each package, what it depends on first: pre-install script, files,
// post-install script; at the end the triggers, with the folders they ask for; then the database.
// Scripts run as root_script.h says. Source: shared/reference/alpine.md section 1.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "alpine-packages/package.h"
#include "init/base/result.h"

namespace muster::apk {

// A package and the index' record of it, which is the beginning of its record in the database.
struct ToInstall {
    Package package;
    std::string record;
};

struct InstallOptions {
    std::vector<std::string> world;        // what was wanted, for /etc/apk/world
    std::vector<std::string> repositories; // lines for /etc/apk/repositories; none: no such file
    std::vector<std::pair<std::string, std::string>> keys; // name and PEM for /etc/apk/keys
    std::string arch = "x86_64";
    bool scripts = true;
    // Told before each step: how much is done of how much, and what comes now.
    std::function<void(std::size_t, std::size_t, const std::string&)> progress = {};
};

// PACKAGES in the order of installation. The root FOLDER is made; one that apk has a database in
// is an error. Notes of what went wrong without being an error (a post-install script or a trigger
// that failed, a file that is there already) go to NOTES, one line each.
Result<> install(std::vector<ToInstall> packages, const std::string& folder,
                 const InstallOptions& options, std::vector<std::string>& notes);

} // namespace muster::apk
