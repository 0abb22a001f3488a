#include "services/muster/notation.h"

#include "init/dataspace/pattern.h"
#include "init/preserves/encoder.h"
#include "init/preserves/text_reader.h"
#include "services/tracker/service.h"

namespace muster::command {

using preserves::Encoder;
using preserves::Kind;
namespace pat = dataspace::pattern;

namespace {

bool is_wildcard(View value) {
    auto text = value.as_symbol();
    return text && (*text == "_" || (!text->empty() && (*text)[0] == '?'));
}

void discard(Encoder& out) { out.value(pat::discard()); }

// Bounded by the depth of values.
bool encode(View value, Encoder& out) {
    if (is_wildcard(value)) {
        discard(out);
        return true;
    }
    if (value.is(Kind::set)) return false;
    out.begin_record();
    if (!value.is_compound()) {
        out.symbol("lit");
        out.value(value);
        out.end();
        return true;
    }
    out.symbol("group");
    out.begin_record();
    bool dictionary = value.is(Kind::dictionary);
    out.symbol(value.is(Kind::record) ? "rec" : dictionary ? "dict" : "arr");
    if (value.is(Kind::record)) out.value(value.label());
    out.end();
    out.begin_dictionary();
    int64_t index = 0;
    for (View item : value.items()) {
        if (dictionary && index % 2 == 0) out.value(item);
        else {
            if (!dictionary) out.integer(index);
            if (!encode(item, out)) return false;
        }
        ++index;
    }
    out.end();
    out.end();
    return true;
}

} // namespace

Result<Value> parse_value(std::string_view text) { return preserves::parse_text(text); }

Result<Value> parse_service(std::string_view text) {
    Result<Value> value = preserves::parse_text(text);
    if (!value || value->is(Kind::record)) return value;
    return preserves::record("daemon", {*value});
}

Result<Value> parse_pattern(std::string_view text) {
    Result<Value> value = preserves::parse_text(text);
    if (!value) return value;
    Encoder out;
    if (!encode(*value, out)) return Error{"a pattern cannot hold a set"};
    return out.finish();
}

Value harmless(const Value& pattern) {
    if (!services::service_of_interest(pattern).valid()) return pattern;
    return pat::record("ServiceRunning", {pat::discard()});
}

} // namespace muster::command
