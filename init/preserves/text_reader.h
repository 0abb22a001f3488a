// The text syntax of Preserves (reference 1.4): reading.
#pragma once

#include "init/preserves/packed.h"

namespace muster::preserves {

struct Location {
    uint32_t line = 1;   // from 1
    uint32_t column = 1; // from 1, in code points
};

struct TextOptions {
    // |quoted symbols| as up to Preserves 0.995 instead of 'quoted symbols'.
    bool bar_symbols = false;
    // Keep annotations and comments. The result is bytes (next_bytes), not a Value.
    bool keep_annotations = false;
    // Annotate every value, innermost, with the sequence [line column] of its first character;
    // the annotations of the text are dropped. The result is bytes. For the script reader.
    bool locations = false;
    EmbeddedCodec* codec = nullptr; // null: embedded values are an error; for bytes: raw
};

// Reads values one after the other from `text`, which must outlive the reader.
//
// Each call of `next` gives one of: a value; `end` (only white space was left; a comment that
// annotates nothing is `need_more`); `need_more` (the text ends within a value); `malformed` (with
// a message and a location; reading cannot go on). A number or symbol at the very end of the text
// counts as complete if `finished`, and as need_more if more text may come. After need_more, read
// again from `offset` when there is more text.
class TextReader {
  public:
    enum class State : uint8_t { value, end, need_more, malformed };

    TextReader(std::string_view text, TextOptions options = {}, bool finished = true);

    State next(Value& out);
    State next_bytes(std::vector<uint8_t>& out);

    // How much was consumed: up to the end of the value; after `need_more` up to its beginning.
    size_t offset() const { return at_; }
    Location location() const { return here_; } // of `offset`
    // Of the first character of the value, behind its annotations.
    Location value_location() const { return value_start_; }
    // If malformed: what is wrong and where. After need_more, if finished: what is left open.
    const std::string& problem() const { return problem_; }
    Location problem_location() const { return problem_at_; }

  private:
    class Parse; // the reading of one value

    State read(Encoder& encoder, bool as_bytes);
    Location locate(size_t offset);
    static void no_limit(Encoder& encoder) { encoder.limit_ = static_cast<size_t>(-1); }

    std::string_view text_;
    TextOptions options_;
    bool finished_;
    size_t at_ = 0;
    Location here_;
    Location value_start_;
    bool malformed_ = false;
    std::string problem_;
    Location problem_at_;
    size_t located_ = 0; // lines and columns are counted up to here
    Location located_at_;
};

// One whole value, nothing after it but white space. Errors name line and column.
Result<Value> parse_text(std::string_view text, EmbeddedCodec* codec = nullptr);

} // namespace muster::preserves
