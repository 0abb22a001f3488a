// The kernel command line as assertions: `<kernel-parameter KEY "value">` for each word, KEY a
// symbol, the value "" for words without `=`; and what kind of start this is, `<boot-mode MODE>`:
//
//   container     init was started with --container (the command line is the host's, unread)
//   switch-root   root= on the command line of an initramfs
//   single        single, S, s or 1
//   normal        otherwise
//
// Source: kernel-parameters.txt, bootparam(7); quoting as lib/cmdline.c, next_arg.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "init/preserves/value.h"

namespace muster::services {

using KernelParameters = std::vector<std::pair<std::string, std::string>>;

KernelParameters parse_kernel_parameters(std::string_view command_line);
// The word for `<boot-mode …>` where it is not a container.
std::string_view boot_mode(const KernelParameters& parameters, bool initramfs);

} // namespace muster::services
