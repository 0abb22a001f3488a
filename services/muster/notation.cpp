#include "services/muster/notation.h"

#include "init/dataspace/pattern.h"
#include "init/preserves/encoder.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"
#include "init/protocol/client.h"
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
        if (dictionary && index % 2 == 0)
            out.value(item);
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

namespace {

// Takes any capability for some capability.
class AnyCapability final : public preserves::EmbeddedCodec {
  public:
    Result<Ref<preserves::Embedded>> decode(View) override { return some_; }
    void encode(preserves::Embedded&, preserves::Encoder& out) override {
        out.symbol("capability");
    }

  private:
    Ref<preserves::Embedded> some_ = make_ref<preserves::Embedded>();
};

class OidText final : public preserves::EmbeddedCodec {
  public:
    Result<Ref<preserves::Embedded>> decode(View) override { return Error{"not for reading"}; }
    void encode(preserves::Embedded& object, preserves::Encoder& out) override {
        out.integer(static_cast<int64_t>(static_cast<protocol::Reference&>(object).oid));
    }
};

} // namespace

Result<Value> parse_service(std::string_view text) {
    constexpr std::string_view left_out = "{...}";
    std::string typed(text);
    for (size_t at = 0; (at = typed.find(left_out, at)) != std::string::npos; ++at)
        typed.replace(at, left_out.size(), "_");
    AnyCapability any;
    Result<Value> value = preserves::parse_text(typed, &any);
    if (!value) return value;
    Value name = services::without_capabilities(*value);
    if (name.is(Kind::record)) return name;
    return preserves::record("daemon", {name});
}

Result<Value> parse_pattern(std::string_view text) {
    Result<Value> value = preserves::parse_text(text);
    return value ? typed_pattern(*value) : value;
}

Result<Value> typed_pattern(View value) {
    Encoder out;
    if (!encode(value, out)) return Error{"a pattern cannot hold a set"};
    return out.finish();
}

std::string text_of(View value) {
    OidText oids;
    return preserves::to_text(value, &oids);
}

namespace {

// Back to a value with holes. False if the pattern has no such form. Bounded by its depth.
bool decode(View wire, Encoder& out) {
    while (wire.is_record("bind", 1))
        wire = wire.at(0);
    if (wire.is_record("_")) {
        out.symbol("_");
        return true;
    }
    if (wire.is_record("lit", 1)) {
        out.value(wire.at(0));
        return true;
    }
    if (!wire.is_record("group", 2) || !wire.at(1).is(Kind::dictionary)) return false;
    View type = wire.at(0);
    View entries = wire.at(1);
    if (type.is_record("dict")) {
        out.begin_dictionary();
        bool key = true;
        for (View item : entries.items()) {
            if (key)
                out.value(item);
            else if (!decode(item, out))
                return false;
            key = !key;
        }
        out.end();
        return true;
    }
    if (type.is_record("rec", 1)) {
        out.begin_record();
        out.value(type.at(0));
    } else if (type.is_record("arr")) {
        out.begin_sequence();
    } else {
        return false;
    }
    size_t left = entries.count();
    for (int64_t index = 0; left > 0; ++index) {
        if (index > 1000) return false;
        Value key = preserves::integer(index);
        View item = entries.get(key.view());
        if (!item.valid())
            out.symbol("_"); // a hole: anything, as long as it is there
        else if (!decode(item, out))
            return false;
        if (item.valid()) --left;
    }
    out.end();
    return true;
}

} // namespace

std::string pattern_text(View wire) {
    Encoder out;
    Result<Value> value = decode(wire, out) ? out.finish() : Result<Value>(Error{});
    return preserves::to_text(value ? value->view() : wire);
}

Value harmless(const Value& pattern) {
    if (!services::service_of_interest(pattern).valid()) return pattern;
    return pat::record("ServiceRunning", {pat::discard()});
}

} // namespace muster::command
