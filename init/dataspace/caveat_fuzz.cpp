// Caveats and a value, in binary, as a peer might send them: refused, or applied; what comes out is
// a value within bounds.
#include <algorithm>
#include <cstdlib>

#include "init/dataspace/caveat.h"
#include "init/preserves/packed.h"

using namespace muster;
using namespace muster::preserves;
using dataspace::Caveats;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

// The next value of `input`; invalid if there is none.
Value take(Bytes& input) {
    Scan found = scan(input);
    if (found.state != Scan::State::complete) return {};
    Result<Value> value = decode_packed(input.subspan(0, found.size), nullptr);
    input = input.subspan(found.size);
    return value ? *value : Value();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Bytes input(data, size);
    Value wire = take(input);
    if (!wire.valid()) return 0;
    Result<Ref<Caveats>> caveats = Caveats::parse(wire);
    if (!caveats) return 0;
    require((*caveats)->wire() == wire);
    while (!input.empty()) {
        Value value = take(input);
        if (!value.valid()) break;
        std::optional<Value> result = (*caveats)->apply(value);
        if (!result) continue;
        require(scan(result->bytes()).canonical);
        require(result->bytes().size() <= Caveats::max_growth + value.bytes().size() + 64);
    }
    return 0;
}
