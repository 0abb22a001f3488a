#include "services/system/kernel_parameters.h"

#include "init/base/catch.h"

using namespace muster::services;

TEST_CASE("kernel parameters are words, quotes hold them together") {
    auto parameters = parse_kernel_parameters("console=ttyS0 quiet root=\"LABEL=my root\" x=a=b\n");
    CHECK(parameters ==
          KernelParameters{
              {"console", "ttyS0"}, {"quiet", ""}, {"root", "LABEL=my root"}, {"x", "a=b"}});
    CHECK(parse_kernel_parameters("").empty());
}

TEST_CASE("the kind of start follows from the kernel parameters") {
    CHECK(boot_mode({{"root", "/dev/vda"}}, true) == "switch-root");
    CHECK(boot_mode({{"root", "/dev/vda"}}, false) == "normal");
    CHECK(boot_mode({{"single", ""}}, true) == "single");
    CHECK(boot_mode({}, true) == "normal");
}
