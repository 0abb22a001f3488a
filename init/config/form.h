// What a script is read into first: the values of its text, each with the place where it stands.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "init/base/blake2s.h"
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

// Reads the forms of a text, which must outlive it.
class FormReader {
  public:
    explicit FormReader(std::string_view text);

    // The next one; empty at the end, and where the text goes wrong.
    std::optional<Form> next();
    // Whether it went wrong; then the problem's place and message are set.
    bool failed() const { return failed_; }
    const Problem& problem() const { return problem_; }
    // Of what the text says up to there, without places and comments: the same for texts that mean
    // the same. Once.
    Digest content() { return content_.finish(); }

  private:
    std::string_view text_;
    preserves::TextReader reader_;
    std::vector<uint8_t> bytes_;
    Blake2s content_;
    bool failed_ = false;
    Problem problem_;
};

} // namespace muster::config
