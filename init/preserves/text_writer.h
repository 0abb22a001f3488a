// The text syntax of Preserves (reference 1.4): writing, on one line.
//
// The form is upstream's: records "<label field>", sequences "[1, 2]", sets "#{1, 2}", dictionaries
// "{a: 1, b: 2}", byte strings as #"text" if printable and else #x"..", quoted symbols 'like this'.
// No line feed ever appears in the output.
#pragma once

#include <string>

#include "init/preserves/packed.h"

namespace muster::preserves {

// Appends the value. With `codec` null a capability is written as #:[address]: good for people and
// logs, nothing that anyone could read back.
void write_text(View value, std::string& out, EmbeddedCodec* codec = nullptr);
std::string to_text(View value, EmbeddedCodec* codec = nullptr);

// For tools: bytes with annotations and raw embedded values (decode_packed_annotated).
std::string annotated_to_text(Bytes annotated, bool bar_symbols = false);

} // namespace muster::preserves
