// Properties that hold for all values, tried on random ones: what one way of writing a value says,
// every way of reading it must give back.
#include <algorithm>
#include <random>

#include "init/base/catch.h"
#include "init/preserves/text_reader.h"
#include "init/preserves/text_writer.h"

using namespace muster;
using namespace muster::preserves;

namespace {

using Buffer = std::vector<uint8_t>;

// A value as a tree, to be written in more than one way.
struct Node {
    uint8_t kind = tag::true_;
    Buffer content;          // atoms
    std::vector<Node> items; // compounds; keys and values in turn
};

class Random {
  public:
    explicit Random(uint64_t seed) : engine_(seed) {}

    size_t below(size_t n) { return static_cast<size_t>(engine_() % n); }
    bool rarely() { return below(5) == 0; }

    Node node(size_t depth) {
        static constexpr uint8_t kinds[] = {
            tag::true_,  tag::false_, tag::number,   tag::integer, tag::string,    tag::bytes,
            tag::symbol, tag::record, tag::sequence, tag::set,     tag::dictionary};
        Node n;
        n.kind = kinds[below(depth == 0 ? 7 : std::size(kinds))];
        switch (n.kind) {
        case tag::number:
            for (int i = 0; i < 8; ++i)
                n.content.push_back(byte());
            break;
        case tag::integer:
            for (size_t i = below(12); i > 0; --i)
                n.content.push_back(byte());
            break;
        case tag::bytes:
            for (size_t i = below(20); i > 0; --i)
                n.content.push_back(byte());
            break;
        case tag::string:
        case tag::symbol:
            n.content = text();
            break;
        default:
            break;
        }
        if (n.kind < tag::record) return n;
        size_t count = below(6);
        if (n.kind == tag::record) ++count;
        if (n.kind == tag::dictionary) count *= 2;
        for (; count > 0; --count)
            n.items.push_back(node(depth - 1));
        return n;
    }

    // In any valid way: any order, padded lengths and integers, annotations.
    void write_loosely(const Node& n, Buffer& out) {
        while (rarely()) {
            out.push_back(tag::annotated);
            write_loosely(node(0), out);
        }
        out.push_back(n.kind);
        if (n.kind <= tag::true_) return;
        if (n.kind < tag::record) {
            Buffer content = n.content;
            if (n.kind == tag::integer && rarely())
                content.insert(content.begin(), !content.empty() && content[0] >= 0x80 ? 0xff : 0);
            if (rarely()) {
                out.push_back(static_cast<uint8_t>(content.size() | 0x80));
                out.push_back(static_cast<uint8_t>(content.size() >> 7));
            } else {
                REQUIRE(content.size() < 0x80);
                out.push_back(static_cast<uint8_t>(content.size()));
            }
            out.insert(out.end(), content.begin(), content.end());
            return;
        }
        const size_t step = n.kind == tag::dictionary ? 2 : 1;
        std::vector<size_t> order;
        for (size_t i = 0; i < n.items.size(); i += step)
            order.push_back(i);
        if (n.kind >= tag::set) std::shuffle(order.begin(), order.end(), engine_);
        for (const size_t i : order)
            for (size_t j = 0; j < step; ++j)
                write_loosely(n.items[i + j], out);
        out.push_back(tag::end);
    }

    void damage(Buffer& bytes) {
        for (size_t i = 1 + below(2); i > 0; --i) {
            static constexpr uint8_t tags[] = {0x80, 0x84, 0x85, 0x86, 0x87, 0xb0, 0xb1, 0xb3,
                                               0xb4, 0xb5, 0xb6, 0xb7, 0x00, 0x01, 0xff};
            const size_t at = below(bytes.size());
            const auto where = bytes.begin() + static_cast<std::ptrdiff_t>(at);
            switch (below(3)) {
            case 0:
                bytes[at] = tags[below(std::size(tags))];
                break;
            case 1:
                bytes.insert(where, tags[below(std::size(tags))]);
                break;
            default:
                if (bytes.size() > 1) bytes.erase(where);
            }
        }
    }

  private:
    uint8_t byte() {
        static constexpr uint8_t edges[] = {0x00, 0x01, 0x7f, 0x80, 0xff, 'a', '"', '\\'};
        return below(2) == 0 ? edges[below(std::size(edges))] : static_cast<uint8_t>(engine_());
    }

    Buffer text() {
        static constexpr const char* pieces[] = {"a",    "b", "7",  "-",  ".",     "e",
                                                 " ",    "|", "'",  "\"", "\\",    "\n",
                                                 "\x01", "é", "水", "𝄞",  "\u00a0"};
        std::string text;
        for (size_t i = below(5); i > 0; --i)
            text += pieces[below(std::size(pieces))];
        return Buffer(text.begin(), text.end());
    }

    std::mt19937_64 engine_;
};

void write(const Node& n, Encoder& e) {
    const std::string_view text(reinterpret_cast<const char*>(n.content.data()), n.content.size());
    switch (n.kind) {
    case tag::number: {
        uint64_t bits = 0;
        for (const uint8_t byte : n.content)
            bits = bits << 8 | byte;
        double value;
        std::memcpy(&value, &bits, sizeof value);
        return e.number(value);
    }
    case tag::integer:
        return e.integer_bytes(n.content);
    case tag::string:
        return e.string(text);
    case tag::bytes:
        return e.bytes(n.content);
    case tag::symbol:
        return e.symbol(text);
    case tag::record:
        e.begin_record();
        break;
    case tag::sequence:
        e.begin_sequence();
        break;
    case tag::set:
        e.begin_set();
        break;
    case tag::dictionary:
        e.begin_dictionary();
        break;
    default:
        return e.boolean(n.kind == tag::true_);
    }
    for (const Node& item : n.items)
        write(item, e);
    e.end();
}

std::vector<Value> random_values(uint64_t seed, size_t count, size_t depth) {
    Random random(seed);
    std::vector<Value> values;
    while (values.size() < count) {
        Encoder e;
        write(random.node(depth), e);
        auto value = e.finish();
        if (value) values.push_back(std::move(*value));
    }
    return values;
}

int sign(int n) { return n < 0 ? -1 : n > 0; }

} // namespace

TEST_CASE("any value survives bytes and text") {
    for (const Value& value : random_values(1, 3000, 4)) {
        const Scan look = scan(value.bytes());
        CHECK(look.state == Scan::State::complete);
        CHECK(look.canonical);
        CHECK(look.size == value.bytes().size());
        CHECK(*decode_packed(value.bytes(), nullptr) == value);
        CHECK(skip_value(value.bytes().data()) == value.bytes().data() + value.bytes().size());
        const std::string text = to_text(value);
        INFO(text);
        const auto again = parse_text(text);
        REQUIRE(again.ok());
        CHECK(*again == value);
    }
}

TEST_CASE("any spelling of a value is the same value") {
    Random random(2);
    size_t good = 0;
    size_t bad = 0;
    for (int round = 0; round < 5000; ++round) {
        const Node node = random.node(3);
        Encoder e;
        write(node, e);
        const auto expected = e.finish();
        Buffer loose;
        random.write_loosely(node, loose);
        const Scan look = scan(loose);
        const auto value = look.state == Scan::State::complete ? decode_packed(loose, look, nullptr)
                                                               : Result<Value>(Error{look.problem});
        if (!expected) {
            CHECK_FALSE(value.ok());
            ++bad;
            continue;
        }
        REQUIRE(value.ok());
        CHECK(*value == *expected);
        CHECK(look.size == loose.size());
        CHECK(look.canonical == (View({loose}, false) == value->view()));
        ++good;

        const auto annotated = decode_packed_annotated(loose);
        REQUIRE(annotated.ok());
        CHECK(View(strip_annotations(*annotated), false) == value->view());
        CHECK(*decode_packed_annotated(*annotated) == *annotated);
        TextOptions keep;
        keep.keep_annotations = true;
        const std::string text = annotated_to_text(*annotated);
        TextReader reader(text, keep);
        Buffer again;
        INFO(text);
        REQUIRE(reader.next_bytes(again) == TextReader::State::value);
        CHECK(again == *annotated);
        const auto plain = parse_text(text);
        REQUIRE(plain.ok());
        CHECK(*plain == *value);
    }
    CHECK(good > 1000);
    CHECK(bad > 10);
}

TEST_CASE("canonical means that encoding gives the same bytes again") {
    Random random(3);
    size_t canonical = 0;
    size_t loose = 0;
    for (const Value& value : random_values(4, 500, 3)) {
        for (int round = 0; round < 20; ++round) {
            Buffer bytes(value.bytes().begin(), value.bytes().end());
            random.damage(bytes);
            const Scan look = scan(bytes);
            if (look.state != Scan::State::complete) {
                CHECK_FALSE(look.canonical);
                continue;
            }
            const Bytes first = Bytes(bytes).first(look.size);
            const auto encoded = decode_packed_annotated(first);
            CHECK((encoded || !look.canonical));
            if (!encoded) continue;
            const bool same = Buffer(first.begin(), first.end()) == *encoded;
            CHECK(look.canonical == (same && !look.has_annotations));
            look.canonical ? ++canonical : ++loose;
        }
    }
    CHECK(canonical > 100);
    CHECK(loose > 20);
}

TEST_CASE("every prefix of a value needs more, as bytes and as text") {
    for (const Value& value : random_values(5, 200, 3)) {
        for (size_t n = 0; n < value.bytes().size(); ++n)
            CHECK(scan(value.bytes().first(n)).state == Scan::State::need_more);
        const std::string text = to_text(value);
        for (size_t n = 1; n < text.size(); ++n) {
            TextReader reader(std::string_view(text).substr(0, n), {}, false);
            Value out;
            INFO(text.substr(0, n));
            CHECK(reader.next(out) == TextReader::State::need_more);
        }
    }
}

TEST_CASE("the order is total") {
    const std::vector<Value> values = random_values(6, 120, 2);
    for (const Value& a : values) {
        for (const Value& b : values) {
            const int order = sign(compare(a, b));
            CHECK(order == -sign(compare(b, a)));
            CHECK((order == 0) == (a == b));
            if (order > 0) continue;
            for (const Value& c : values)
                if (compare(b, c) <= 0 && compare(a, c) > 0) FAIL("not transitive");
        }
    }
}
