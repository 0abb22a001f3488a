// What a script is read into first: the values of its text, each with the place where it stands.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "init/preserves/text_reader.h"
#include "init/preserves/value.h"

namespace muster::config {

using preserves::Location;
using preserves::Value;
using preserves::View;

// A place in a file and what is wrong there. Line 0: the file as a whole.
struct Problem {
    std::string file;
    Location at;
    std::string message;
};
// "FILE:LINE:COLUMN: MESSAGE", or "FILE: MESSAGE".
std::string to_string(const Problem& problem);

struct Form {
    Location at;
    preserves::Kind kind;
    Value atom;              // atoms only
    std::vector<Form> items; // a record's label and fields; items; keys and values in turn

    bool is_compound() const { return kind >= preserves::Kind::record; }
    bool is_symbol(std::string_view text) const { return atom.view().is_symbol(text); }
    std::string_view symbol() const { return atom.view().as_symbol().value_or(""); }
};

struct Forms {
    std::vector<Form> forms;
    // What the text says, without places and comments: equal for texts that mean the same.
    std::vector<uint8_t> content;
};

// Reads a whole text. On a syntax error sets the problem's place and message and returns false.
bool read_forms(std::string_view text, Forms& out, Problem& problem);

} // namespace muster::config
