// Every reader of a package and an index, on anything.
#include <cstdint>
#include <string>
#include <string_view>

#include "alpine-packages/catalog.h"
#include "alpine-packages/gzip.h"
#include "alpine-packages/index.h"
#include "alpine-packages/package.h"
#include "alpine-packages/solver.h"
#include "alpine-packages/tar.h"
#include "alpine-packages/version.h"

using namespace muster::apk;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    std::string_view data(reinterpret_cast<const char*>(bytes), size);
    (void)split_gzip(data, 1 << 20).ok();
    (void)read_tar(data, true).ok();
    (void)read_tar(data, false).ok();
    (void)parse_index(data).ok();
    if (auto catalog = Catalog::build({std::string(data)}, {"x"}); catalog.ok()) {
        std::vector<std::string> wanted;
        for (PackageId id = 0; id < catalog->package_count() && id < 8; ++id)
            wanted.emplace_back(catalog->name(catalog->package(id).name));
        (void)solve(*catalog, wanted).ok();
    }
    (void)parse_pkginfo(data).ok();
    (void)read_package(data, KeyRing()).ok();
    (void)keys_in_package(data).ok();
    if (auto dependency = parse_dependency(data); dependency.ok()) {
        if (!parse_dependency(dependency->text()).ok()) __builtin_trap();
        (void)dependency->allows("1.2_rc3-r4");
    }
    std::size_t middle = size / 2;
    std::string_view a = data.substr(0, middle), b = data.substr(middle);
    if (version_is_valid(a) && version_is_valid(b)) {
        Order forth = compare_versions(a, b), back = compare_versions(b, a);
        if ((forth == Order::less) != (back == Order::greater)) __builtin_trap();
    }
    return 0;
}
