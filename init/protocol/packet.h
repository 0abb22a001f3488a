// Finds packets in a stream of bytes and takes them apart (reference 2.1, 2.4).
//
// A packet is one Preserves value. Its first byte says which syntax it has: 0x80 and above binary,
// anything else text. Both come out as canonical bytes in which embedded values stand as the peer
// wrote them (raw): whoever keeps a part of it decodes that part through the membrane.
#pragma once

#include <string>
#include <vector>

#include "init/preserves/value.h"
#include "init/protocol/packet_end.h"

namespace muster::protocol {

class PacketReader {
  public:
    enum class State : uint8_t { packet, need_more, malformed };

    // The next packet in `input`. On `packet`, `view` shows it: into `input` itself if it is
    // canonical, else into a buffer that the next call overwrites; `consumed` bytes are done with.
    // On `need_more`, white space that was passed over is `consumed`; the next call must be given
    // the rest of this input, with more behind it.
    State next(preserves::Bytes input);

    // Whether the packet at the beginning of the input has been looked at and was not whole.
    bool begun() const { return end_.begun(); }

    preserves::View view() const { return view_; }
    size_t consumed() const { return consumed_; }
    bool text() const { return text_; }
    bool has_embedded() const { return has_embedded_; }
    const std::string& problem() const { return problem_; }
    // How many bytes have been read in all, those that were read again included.
    uint64_t bytes_read() const { return bytes_read_; }

  private:
    State next_binary(preserves::Bytes input);
    State next_text(preserves::Bytes input);

    preserves::View view_;
    size_t consumed_ = 0;
    bool text_ = false;
    bool has_embedded_ = false;
    std::string problem_;
    std::vector<uint8_t> buffer_;
    PacketEnd end_; // of a large packet that is not whole yet
    uint64_t bytes_read_ = 0;
};

} // namespace muster::protocol
