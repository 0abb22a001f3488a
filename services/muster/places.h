// Where in the configuration files a service is defined and asked for. The files are read as they
// are on disk, by whoever looks, so that nothing of this costs the running system anything.
//
// Scripts compute: `<daemon <getty $tty> {…}>` within `? <console ?tty> […]` defines what is found
// at run time. Variables and patterns in names stand for anything here; a name that is nothing but
// a variable says nothing.
#pragma once

#include <string>
#include <vector>

#include "init/config/form.h"

namespace muster::command {

using preserves::Value;
using preserves::View;

struct Place {
    std::string file;
    preserves::Location at;
    std::string text; // of a definition: its command

    std::string shown() const { return file + ":" + std::to_string(at.line); }
};

class Places {
  public:
    // All `*.pr` below these paths that can be read; those that cannot are left out. At most 1 MiB
    // of each, and 4,096 files.
    static Places read(const std::vector<std::string>& paths);
    // For tests: one file.
    void add(const std::string& file, std::string_view text);

    // `<daemon ID SPEC>`, for `<daemon ID>`.
    std::vector<Place> definitions(View service) const;
    // `<require-service S>` or `<RequireService S>`.
    std::vector<Place> demands(View service) const;
    // `<disable-service S>`.
    std::vector<Place> disablings(View service) const;
    // `<depends-on S …>`.
    std::vector<Place> dependencies(View service) const { return ties("depends-on", service); }
    // `<LABEL S OTHER>`, as <started-by S …>, <provides S OTHER>; with any OTHER, unless it is
    // given.
    std::vector<Place> ties(std::string_view label, View service, View other = {}) const;

  private:
    struct File {
        std::string name;
        std::vector<config::Form> forms;
    };
    std::vector<File> files_;
};

// "FILE:LINE, FILE:LINE"; empty if there is none.
std::string shown(const std::vector<Place>& places);

// "/usr/sbin/ntpd -n" for what SPEC says how to run; empty if that cannot be told.
std::string command_text(View spec);

} // namespace muster::command
