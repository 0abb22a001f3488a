#include "alpine-packages/version.h"

#include <algorithm>
#include <array>

namespace muster::apk {
namespace {

// In the order that decides when two versions differ in kind: the earlier kind is the greater.
enum class Kind { number, letter, suffix, suffix_number, commit, revision, end, invalid };

struct Token {
    Kind kind = Kind::end;
    std::string_view text;
    int suffix = 0; // below zero: before the release
};

struct Suffix {
    std::string_view name;
    int rank;
};
constexpr std::array<Suffix, 9> suffixes = {{{"alpha", -4},
                                             {"beta", -3},
                                             {"pre", -2},
                                             {"rc", -1},
                                             {"cvs", 1},
                                             {"svn", 2},
                                             {"git", 3},
                                             {"hg", 4},
                                             {"p", 5}}};

bool digit(char c) { return c >= '0' && c <= '9'; }

class Reader {
  public:
    explicit Reader(std::string_view text) : rest_(text) {}

    Token next() {
        Token token = read();
        last_ = token.kind;
        first_ = false;
        return token;
    }

  private:
    Token run_of_digits(Kind kind) {
        std::size_t size = 0;
        while (size < rest_.size() && digit(rest_[size]))
            ++size;
        if (size == 0) return {Kind::invalid, {}, 0};
        return take(kind, size);
    }

    Token take(Kind kind, std::size_t size, int suffix = 0) {
        Token token{kind, rest_.substr(0, size), suffix};
        rest_.remove_prefix(size);
        return token;
    }

    Token read() {
        if (first_) return run_of_digits(Kind::number);
        if (rest_.empty()) return {Kind::end, {}, 0};
        char c = rest_.front();
        if (c == '.' && last_ == Kind::number) {
            rest_.remove_prefix(1);
            return run_of_digits(Kind::number);
        }
        if (c >= 'a' && c <= 'z' && last_ == Kind::number) return take(Kind::letter, 1);
        if (digit(c) && last_ == Kind::suffix) return run_of_digits(Kind::suffix_number);
        if (c == '_' && last_ <= Kind::suffix_number) {
            rest_.remove_prefix(1);
            std::size_t size = 0;
            while (size < rest_.size() && rest_[size] >= 'a' && rest_[size] <= 'z')
                ++size;
            for (const Suffix& suffix : suffixes)
                if (suffix.name == rest_.substr(0, size))
                    return take(Kind::suffix, size, suffix.rank);
            return {Kind::invalid, {}, 0};
        }
        if (c == '~' && last_ <= Kind::suffix_number) {
            rest_.remove_prefix(1);
            std::size_t size = 0;
            while (size < rest_.size() &&
                   (digit(rest_[size]) || (rest_[size] >= 'a' && rest_[size] <= 'f')))
                ++size;
            if (size == 0) return {Kind::invalid, {}, 0};
            return take(Kind::commit, size);
        }
        if (rest_.starts_with("-r") && last_ <= Kind::commit) {
            rest_.remove_prefix(2);
            return run_of_digits(Kind::revision);
        }
        return {Kind::invalid, {}, 0};
    }

    std::string_view rest_;
    Kind last_ = Kind::number;
    bool first_ = true;
};

Order order(int comparison) {
    return comparison < 0 ? Order::less : comparison > 0 ? Order::greater : Order::equal;
}

Order compare_numbers(std::string_view a, std::string_view b) {
    while (a.size() > 1 && a.front() == '0')
        a.remove_prefix(1);
    while (b.size() > 1 && b.front() == '0')
        b.remove_prefix(1);
    if (a.size() != b.size()) return a.size() < b.size() ? Order::less : Order::greater;
    return order(a.compare(b));
}

Order compare_tokens(const Token& a, const Token& b, bool first) {
    switch (a.kind) {
    case Kind::number:
        // "1.01" is before "1.1": a component with a leading zero is a text
        if (!first && (a.text.front() == '0' || b.text.front() == '0'))
            return order(a.text.compare(b.text));
        return compare_numbers(a.text, b.text);
    case Kind::suffix:
        return order(a.suffix - b.suffix);
    case Kind::suffix_number:
    case Kind::revision:
        return compare_numbers(a.text, b.text);
    default:
        return order(a.text.compare(b.text));
    }
}

bool name_is_valid(std::string_view name) {
    return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
        return c > ' ' && c != 127 && c != '<' && c != '>' && c != '=' && c != '~' && c != '!' &&
               c != '@';
    });
}

} // namespace

bool version_is_valid(std::string_view version) {
    Reader reader(version);
    Token token = reader.next();
    while (token.kind != Kind::end && token.kind != Kind::invalid)
        token = reader.next();
    return token.kind == Kind::end;
}

Order compare_versions(std::string_view a, std::string_view b, bool prefix) {
    Reader left(a), right(b);
    for (bool first = true;; first = false) {
        Token x = left.next(), y = right.next();
        bool x_over = x.kind >= Kind::end, y_over = y.kind >= Kind::end;
        if (y_over && (prefix || x_over)) return Order::equal;
        if (x.kind == y.kind) {
            Order found = compare_tokens(x, y, first);
            if (found != Order::equal) return found;
            continue;
        }
        if (x.kind == Kind::suffix && x.suffix < 0) return Order::less;
        if (y.kind == Kind::suffix && y.suffix < 0) return Order::greater;
        return x.kind > y.kind ? Order::less : Order::greater;
    }
}

std::string Dependency::text() const {
    std::string out = conflict ? "!" : "";
    out += name;
    if (!tag.empty()) (out += '@') += tag;
    if (identity) return (out += "><") += version;
    if (less) out += '<';
    if (greater) out += '>';
    if (prefix)
        out += '~';
    else if (equal)
        out += '=';
    return out += version;
}

bool Dependency::allows(std::string_view offered, std::string_view identity_offered) const {
    if (identity) return identity_offered == version;
    if (!less && !equal && !greater) return true;
    if (!version_is_valid(offered)) return false;
    switch (compare_versions(offered, version, prefix)) {
    case Order::less:
        return less;
    case Order::equal:
        return equal;
    case Order::greater:
        return greater;
    }
    return false;
}

Result<Dependency> parse_dependency(std::string_view text) {
    Dependency out;
    std::string_view rest = text;
    auto wrong = [&](const std::string& why) {
        return Error{"dependency \"" + std::string(text) + "\": " + why};
    };
    if (rest.starts_with('!')) out.conflict = true, rest.remove_prefix(1);
    std::size_t name_size = std::min(rest.find_first_of("<>=~@"), rest.size());
    out.name = rest.substr(0, name_size);
    rest.remove_prefix(name_size);
    if (!name_is_valid(out.name)) return wrong("no name");
    if (rest.starts_with('@')) {
        std::size_t size = std::min(rest.find_first_of("<>=~"), rest.size());
        out.tag = rest.substr(1, size - 1);
        rest.remove_prefix(size);
        if (!name_is_valid(out.tag)) return wrong("the tag is not understood");
    }
    if (rest.empty()) return out;
    std::size_t op_size = std::min(rest.find_first_not_of("<>=~"), rest.size());
    std::string_view op = rest.substr(0, op_size);
    out.version = rest.substr(op_size);
    if (op == "><") {
        out.identity = true;
        if (!out.version.starts_with("Q1")) return wrong("the identity is not understood");
        return out;
    }
    out.less = op.find('<') != std::string_view::npos;
    out.greater = op.find('>') != std::string_view::npos;
    out.prefix = op.find('~') != std::string_view::npos;
    out.equal = out.prefix || op.find('=') != std::string_view::npos;
    if (op.size() > 2 || (out.less && out.greater)) return wrong("the operator is not understood");
    if (!version_is_valid(out.version)) return wrong("the version is not understood");
    return out;
}

Result<Provision> parse_provision(std::string_view text) {
    std::size_t equals = std::min(text.find('='), text.size());
    Provision out{std::string(text.substr(0, equals)), ""};
    if (!name_is_valid(out.name))
        return Error{"provided name \"" + std::string(text) + "\" is not understood"};
    if (equals < text.size()) {
        out.version = text.substr(equals + 1);
        if (!version_is_valid(out.version))
            return Error{"provided name \"" + std::string(text) + "\": version is not understood"};
    }
    return out;
}

} // namespace muster::apk
