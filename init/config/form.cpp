#include "init/config/form.h"

namespace muster::config {

namespace {

using preserves::Bytes;
using preserves::Kind;
namespace tag = preserves::tag;

// Walks what the text reader gives when asked for locations: every value behind the annotation
// [line column]. The reader made these bytes, so they are well-formed, and it has refused more
// than max_depth levels.
class Walker {
  public:
    explicit Walker(Bytes bytes) : at_(bytes.data()) {}

    Form form() {
        Form result;
        ++at_; // annotated
        ++at_; // a sequence
        result.at.line = coordinate();
        result.at.column = coordinate();
        ++at_; // its end
        switch (*at_) {
        case tag::record:
            return compound(std::move(result), Kind::record);
        case tag::sequence:
            return compound(std::move(result), Kind::sequence);
        case tag::set:
            return compound(std::move(result), Kind::set);
        case tag::dictionary:
            return compound(std::move(result), Kind::dictionary);
        case tag::embedded:
            ++at_;
            result.kind = Kind::embedded;
            result.items.push_back(form());
            return result;
        default:
            break;
        }
        const uint8_t* end = preserves::skip_value(at_);
        result.atom = Value::from_canonical(Bytes(at_, static_cast<size_t>(end - at_)));
        result.kind = result.atom.kind();
        at_ = end;
        return result;
    }

  private:
    Form compound(Form result, Kind kind) {
        result.kind = kind;
        ++at_;
        while (*at_ != tag::end)
            result.items.push_back(form());
        ++at_;
        return result;
    }

    uint32_t coordinate() {
        const uint8_t* end = preserves::skip_value(at_);
        View number(Bytes(at_, static_cast<size_t>(end - at_)), false);
        at_ = end;
        return static_cast<uint32_t>(number.as_int().value_or(0));
    }

    const uint8_t* at_;
};

using State = preserves::TextReader::State;

preserves::TextOptions with_locations() {
    preserves::TextOptions options;
    options.locations = true;
    return options;
}

// A comment annotates the value after it (reference 1.4). At the end of a file there is none, and
// yet it is fine.
bool only_comments(std::string_view rest) {
    std::string padded(rest);
    padded += "\n[]";
    preserves::TextReader reader(padded, with_locations());
    std::vector<uint8_t> bytes;
    if (reader.next_bytes(bytes) != State::value || reader.offset() != padded.size()) return false;
    return Walker(bytes).form().kind == Kind::sequence;
}

} // namespace

std::string to_string(const Problem& problem) {
    if (problem.at.line == 0) return problem.file + ": " + problem.message;
    return problem.file + ":" + std::to_string(problem.at.line) + ":" +
           std::to_string(problem.at.column) + ": " + problem.message;
}

FormReader::FormReader(std::string_view text) : text_(text), reader_(text, with_locations()) {}

std::optional<Form> FormReader::next() {
    if (failed_) return {};
    bytes_.clear();
    const State state = reader_.next_bytes(bytes_);
    if (state == State::value) {
        content_.add(preserves::strip_annotations(bytes_));
        return Walker(bytes_).form();
    }
    failed_ = state == State::malformed ||
              (state == State::need_more && !only_comments(text_.substr(reader_.offset())));
    if (failed_) problem_ = {{}, reader_.problem_location(), reader_.problem()};
    return {};
}

} // namespace muster::config
