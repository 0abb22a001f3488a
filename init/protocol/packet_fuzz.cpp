// Any bytes as packets that come in pieces: they are found as they would be if they came at once,
// and as soon as they are whole. The first byte says how large the pieces are.
#include <cstdlib>
#include <string>
#include <vector>

#include "init/protocol/packet.h"

using namespace muster;
using namespace muster::protocol;
using State = PacketReader::State;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

struct Found {
    std::vector<std::string> packets;
    size_t behind = 0; // what is consumed
    bool malformed = false;
};

// Reads what can be read.
void read_all(PacketReader& reader, preserves::Bytes input, Found& found) {
    while (!found.malformed) {
        State state = reader.next(input.subspan(found.behind));
        found.malformed = state == State::malformed;
        if (found.malformed) require(!reader.problem().empty());
        if (state == State::packet) {
            preserves::Bytes bytes = reader.view().bytes();
            found.packets.emplace_back(bytes.begin(), bytes.end());
            require(reader.consumed() > 0);
        }
        if (state != State::malformed) found.behind += reader.consumed();
        if (state != State::packet) return;
    }
}

// The end is seen as soon as a reader that begins anew sees it, small packets included.
void check_end(preserves::Bytes input) {
    PacketReader whole;
    State state = whole.next(input);
    size_t skipped = 0;
    while (skipped < input.size() && preserves::Bytes(input)[skipped] <= ' ')
        ++skipped;
    if (skipped == input.size()) return;
    PacketEnd end;
    bool found = false;
    for (size_t size = skipped + 1; size <= input.size() && !found; ++size)
        found = end.find(input.subspan(skipped, size - skipped), input[skipped] < 0x80);
    if (state == State::packet) require(found);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    preserves::Bytes input(data + 1, size - 1);
    size_t piece = 1 + data[0];
    // Copies, so that what a piece does not have is not there.
    PacketReader whole_reader, part_reader;
    Found whole, parts;
    read_all(whole_reader, input, whole);
    for (size_t end = piece; !parts.malformed; end += piece) {
        std::vector<uint8_t> part(
            input.begin(), input.begin() + static_cast<ptrdiff_t>(std::min(end, input.size())));
        read_all(part_reader, part, parts);
        if (end >= input.size()) break;
    }
    require(whole.packets == parts.packets);
    if (!whole.malformed) require(!parts.malformed && whole.behind == parts.behind);
    check_end(input);
    return 0;
}
