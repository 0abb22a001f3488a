// Puts a module's file into the kernel (finit_module(2)).
#pragma once

#include "netlink/module_tables.h"

namespace muster::netlink {

class ModuleLoader {
  public:
    // Returns 0 or what went wrong as errno. A module that is there already is no error. Returns
    // when the module's own start is over, with the devices it found asked for by their drivers.
    //
    // A compressed file (.gz .xz .zst) is uncompressed by the kernel if it can (5.17 and later,
    // with CONFIG_MODULE_DECOMPRESS), else by zcat, xzcat or zstdcat: then loading takes a process.
    int load(const ModuleToLoad& module);

  private:
    bool kernel_unpacks_ = true; // until it refused
};

} // namespace muster::netlink
