// From forms to instructions (reference 3.5).

#include <algorithm>

#include "init/config/tree.h"
#include "init/preserves/encoder.h"
#include "init/preserves/text_writer.h"

namespace muster::config {

using preserves::Encoder;
using preserves::Kind;

namespace {

// How deep instructions may nest, counting `$x` and the like: what runs them is recursive.
constexpr size_t max_nesting = 250;

// What a message says stands in a place.
std::string describe(const Form& form) {
    switch (form.kind) {
    case Kind::record:
        return "a record";
    case Kind::sequence:
        return "a sequence";
    case Kind::set:
        return "a set";
    case Kind::dictionary:
        return "a dictionary";
    case Kind::embedded:
        return "a capability";
    default:
        break;
    }
    std::string text = preserves::to_text(form.atom);
    if (text.size() > 60) return form.kind == Kind::string ? "a long string" : "a long value";
    return text;
}

// The items that are still to be parsed of a file or a block.
struct Tokens {
    const std::vector<Form>& forms;
    size_t next = 0;

    bool done() const { return next == forms.size(); }
    const Form* peek() const { return done() ? nullptr : &forms[next]; }
    const Form& take() { return forms[next++]; }
    // REQUIRES: something was taken.
    const Form& last() const { return forms[next - 1]; }
};

enum class Notation : uint8_t {
    template_, // a value is needed
    pattern,   // of ?, ??, let, =~
    caveat,    // the pattern of a caveat: as a pattern, and constant sets are fine
};

class Parser {
  public:
    Parser(Source& source, Problem& problem) : source_(source), problem_(problem) {}

    bool block(Tokens& tokens, std::vector<Instruction>& out, size_t depth) {
        while (!tokens.done()) {
            if (!instruction(tokens, out.emplace_back(), true, depth)) return false;
        }
        return true;
    }

  private:
    using Names = std::vector<std::string>;

    bool fail(const Form& form, std::string message) {
        problem_.at = form.at;
        problem_.message = std::move(message);
        return false;
    }

    // After a keyword: says what should follow it if nothing does.
    bool expect(Tokens& tokens, std::string_view what) {
        if (!tokens.done()) return true;
        return fail(tokens.last(),
                    std::string(what) + " was expected after " + describe(tokens.last()));
    }

    Place place(const Form& form) {
        source_.places.push_back(form.at);
        return static_cast<Place>(source_.places.size() - 1);
    }

    bool instruction(Tokens& tokens, Instruction& out, bool in_block, size_t depth) {
        const Form& form = tokens.take();
        out.place = place(form);
        if (depth >= max_nesting) return fail(form, "instructions nest too deeply");
        if (form.kind == Kind::record || form.kind == Kind::dictionary) {
            out.op = Instruction::Op::assert_;
            return node(form, Notation::template_, nullptr, out.node);
        }
        if (form.kind == Kind::sequence) {
            out.op = Instruction::Op::block;
            Tokens inner{form.items};
            return block(inner, out.body, depth + 1);
        }
        if (form.kind != Kind::symbol) return no_instruction(form);
        std::string_view symbol = form.symbol();
        if (symbol == "let") return let(tokens, out, depth);
        if (symbol == "!") return with_template(tokens, out, Instruction::Op::message);
        if (symbol == "+=") return with_template(tokens, out, Instruction::Op::assert_);
        if (symbol == "?") return with_pattern(tokens, out, Instruction::Op::during, depth);
        if (symbol == "??") return with_pattern(tokens, out, Instruction::Op::on_message, depth);
        if (symbol == "?-") {
            out.op = Instruction::Op::on_stop;
            return expect(tokens, "an instruction") && body(tokens, out, depth);
        }
        if (symbol == "=~") {
            return fail(form, "=~ needs a variable before it: $name =~ PATTERN INSTRUCTION …");
        }
        if (!symbol.starts_with('$')) return no_instruction(form);
        if (symbol.size() == 1) return fail(form, "the name of a variable was expected after $");
        out.name = symbol.substr(1);
        if (!expect(tokens, "an instruction or =~")) return false;
        if (tokens.peek()->is_symbol("=~")) return match(tokens, out, in_block, depth);
        out.op = Instruction::Op::target;
        return body(tokens, out, depth);
    }

    bool no_instruction(const Form& form) {
        return fail(form, "an instruction was expected (<record>, {dictionary}, [block], "
                          "$name …, ? …, ?? …, ?- …, let …, ! …, += …), not " +
                              describe(form));
    }

    bool body(Tokens& tokens, Instruction& out, size_t depth) {
        return instruction(tokens, out.body.emplace_back(), false, depth + 1);
    }

    bool with_template(Tokens& tokens, Instruction& out, Instruction::Op op) {
        out.op = op;
        return expect(tokens, "a value") &&
               node(tokens.take(), Notation::template_, nullptr, out.node);
    }

    bool with_pattern(Tokens& tokens, Instruction& out, Instruction::Op op, size_t depth) {
        out.op = op;
        return expect(tokens, "a pattern") && pattern(tokens.take(), out.node) &&
               expect(tokens, "an instruction after the pattern") && body(tokens, out, depth);
    }

    bool pattern(const Form& form, Node& out) {
        Names names;
        return node(form, Notation::pattern, &names, out);
    }

    bool let(Tokens& tokens, Instruction& out, size_t depth) {
        out.op = Instruction::Op::let;
        if (!expect(tokens, "a pattern") || !pattern(tokens.take(), out.node)) return false;
        if (!expect(tokens, "=")) return false;
        const Form& equals = tokens.take();
        if (!equals.is_symbol("=")) {
            return fail(equals,
                        "= was expected (let PATTERN = EXPRESSION), not " + describe(equals));
        }
        return expect(tokens, "an expression") && expression(tokens, out.expression, depth + 1);
    }

    // $x =~ PATTERN INSTRUCTION, and the rest of the block if it does not match. In a block that
    // rest simply follows. Elsewhere (? P $x =~ …) the two make a block of their own.
    bool match(Tokens& tokens, Instruction& out, bool in_block, size_t depth) {
        tokens.take();
        Instruction test;
        test.op = Instruction::Op::match;
        test.place = out.place;
        test.name = std::move(out.name);
        if (!expect(tokens, "a pattern") || !pattern(tokens.take(), test.node) ||
            !expect(tokens, "an instruction after the pattern") || !body(tokens, test, depth)) {
            return false;
        }
        if (in_block) {
            out = std::move(test);
            return true;
        }
        out.op = Instruction::Op::block;
        out.name.clear();
        out.body.push_back(std::move(test));
        return block(tokens, out.body, depth + 1);
    }

    bool expression(Tokens& tokens, Expression& out, size_t depth) {
        const Form& form = tokens.take();
        out.place = place(form);
        if (depth >= max_nesting) return fail(form, "expressions nest too deeply");
        std::string_view symbol = form.symbol();
        if (symbol == "dataspace") return plain(out, Expression::Op::dataspace);
        if (symbol == "timestamp") return plain(out, Expression::Op::timestamp);
        if (symbol == "facet") return plain(out, Expression::Op::facet);
        if (symbol == "scriptdir") return plain(out, Expression::Op::scriptdir);
        if (symbol == "stringify") {
            out.op = Expression::Op::stringify;
            return argument(tokens, out, "an expression", depth);
        }
        if (symbol == "join") {
            out.op = Expression::Op::join;
            return argument(tokens, out, "a separator", depth) &&
                   argument(tokens, out, "a sequence of pieces after the separator", depth);
        }
        if (symbol == "pattern") {
            out.op = Expression::Op::pattern;
            return expect(tokens, "a pattern") && pattern(tokens.take(), out.node);
        }
        return node(form, Notation::template_, nullptr, out.node);
    }

    static bool plain(Expression& out, Expression::Op op) {
        out.op = op;
        return true;
    }

    bool argument(Tokens& tokens, Expression& out, std::string_view what, size_t depth) {
        return expect(tokens, what) && expression(tokens, out.arguments.emplace_back(), depth + 1);
    }

    // ---- Templates and patterns. They nest as values do: recursion is bounded. ----

    bool node(const Form& form, Notation notation, Names* names, Node& out) {
        out.place = place(form);
        switch (form.kind) {
        case Kind::symbol:
            return symbol(form, notation, names, out);
        case Kind::record:
            return record(form, notation, names, out);
        case Kind::sequence:
            out.op = Node::Op::sequence;
            return items(form, 0, notation, names, out) && fold(form, out);
        case Kind::set:
            if (notation == Notation::pattern) {
                return fail(form, "a pattern cannot match a set");
            }
            out.op = Node::Op::set;
            return items(form, 0, Notation::template_, nullptr, out) && fold(form, out);
        case Kind::dictionary:
            return dictionary(form, notation, names, out);
        case Kind::embedded:
            return fail(form, "a capability cannot be written in a script");
        default:
            out.value = form.atom;
            return true;
        }
    }

    bool symbol(const Form& form, Notation notation, Names* names, Node& out) {
        std::string_view symbol = form.symbol();
        if (symbol == "_") {
            if (notation == Notation::template_) {
                return fail(form, "_ is for patterns; a value was expected");
            }
            out.op = Node::Op::discard;
        } else if (symbol.starts_with('?')) {
            return bind(form, notation, names, out);
        } else if (symbol.starts_with('$')) {
            if (symbol.size() == 1) {
                return fail(form, "the name of a variable was expected after $");
            }
            out.op = Node::Op::variable;
            out.name = symbol.substr(1);
        } else if (symbol.starts_with('=')) {
            out.value = preserves::symbol(symbol.substr(1));
        } else {
            out.value = form.atom;
        }
        return true;
    }

    bool bind(const Form& form, Notation notation, Names* names, Node& out) {
        std::string name(form.symbol().substr(1));
        if (notation == Notation::template_) {
            return fail(form, "?" + name + " is for patterns; a value was expected (=?" + name +
                                  " is the symbol)");
        }
        if (name.empty()) return fail(form, "the name of a variable was expected after ?");
        if (std::find(names->begin(), names->end(), name) != names->end()) {
            return fail(form, "?" + name + " is bound twice in one pattern");
        }
        names->push_back(name);
        out.op = Node::Op::bind;
        out.name = std::move(name);
        return true;
    }

    bool record(const Form& form, Notation notation, Names* names, Node& out) {
        const Form& label = form.items[0];
        if (label.is_symbol("*")) return attenuation(form, out);
        if (notation != Notation::template_ && label.symbol().starts_with('?')) {
            if (!bind(label, notation, names, out)) return false;
            if (form.items.size() != 2) {
                return fail(form, "one pattern was expected: <?" + out.name + " PATTERN>");
            }
            return node(form.items[1], notation, names, out.items.emplace_back());
        }
        if (notation != Notation::template_ && label.is_symbol("_")) {
            return fail(label, "the label of a record cannot be left open");
        }
        out.op = Node::Op::record;
        return node(label, Notation::template_, nullptr, out.items.emplace_back()) &&
               items(form, 1, notation, names, out) && fold(form, out);
    }

    bool items(const Form& form, size_t first, Notation notation, Names* names, Node& out) {
        for (size_t i = first; i < form.items.size(); ++i) {
            if (!node(form.items[i], notation, names, out.items.emplace_back())) return false;
        }
        return true;
    }

    bool dictionary(const Form& form, Notation notation, Names* names, Node& out) {
        out.op = Node::Op::dictionary;
        for (size_t i = 0; i + 1 < form.items.size(); i += 2) {
            if (!node(form.items[i], Notation::template_, nullptr, out.items.emplace_back()) ||
                !node(form.items[i + 1], notation, names, out.items.emplace_back())) {
                return false;
            }
        }
        return fold(form, out);
    }

    // A compound that holds constants only is one constant.
    bool fold(const Form& form, Node& out) {
        for (const Node& item : out.items) {
            if (item.op != Node::Op::literal) return true;
        }
        Encoder encoder;
        switch (out.op) {
        case Node::Op::record:
            encoder.begin_record();
            break;
        case Node::Op::sequence:
            encoder.begin_sequence();
            break;
        case Node::Op::set:
            encoder.begin_set();
            break;
        default:
            encoder.begin_dictionary();
            break;
        }
        for (const Node& item : out.items)
            encoder.value(item.value);
        encoder.end();
        Result<Value> value = encoder.finish();
        if (!value) return fail(form, value.error().message);
        out.op = Node::Op::literal;
        out.value = std::move(*value);
        out.items = {};
        return true;
    }

    // ---- <* CAPABILITY [CAVEAT …]> ----

    bool attenuation(const Form& form, Node& out) {
        if (form.items.size() != 3 || form.items[2].kind != Kind::sequence) {
            return fail(form, "<* $name [CAVEAT …]> was expected (<=* …> is a record)");
        }
        out.op = Node::Op::attenuate;
        if (!node(form.items[1], Notation::template_, nullptr, out.items.emplace_back())) {
            return false;
        }
        if (out.items[0].op != Node::Op::variable) {
            return fail(form.items[1], "a variable that holds a capability was expected");
        }
        for (const Form& item : form.items[2].items) {
            if (!caveat(item, true, out.caveats.emplace_back())) return false;
        }
        return true;
    }

    bool caveat(const Form& form, bool outermost, Node::Caveat& out) {
        size_t fields = form.kind == Kind::record ? form.items.size() - 1 : 0;
        std::string_view label = fields > 0 ? form.items[0].symbol() : std::string_view();
        Names names;
        if (label == "rewrite" && fields == 2) {
            out.op = Node::Caveat::Op::rewrite;
            return node(form.items[1], Notation::caveat, &names, out.pattern) &&
                   node(form.items[2], Notation::template_, nullptr, out.result);
        }
        if (label == "accept" && fields == 1) {
            out.op = Node::Caveat::Op::accept;
            return node(form.items[1], Notation::caveat, &names, out.pattern);
        }
        if (outermost && label == "reject" && fields == 1) {
            out.op = Node::Caveat::Op::reject;
            return node(form.items[1], Notation::caveat, &names, out.pattern);
        }
        if (outermost && label == "or" && fields == 1 && form.items[1].kind == Kind::sequence) {
            out.op = Node::Caveat::Op::alternatives;
            for (const Form& item : form.items[1].items) {
                if (!caveat(item, false, out.alternatives.emplace_back())) return false;
            }
            return true;
        }
        return fail(form, outermost ? "a caveat was expected: <rewrite PATTERN TEMPLATE>, "
                                      "<accept PATTERN>, <reject PATTERN> or "
                                      "<or [<rewrite …> or <accept …> …]>"
                                    : "<rewrite PATTERN TEMPLATE> or <accept PATTERN> was "
                                      "expected within <or [ ]>");
    }

    Source& source_;
    Problem& problem_;
};

} // namespace

Script::Script() = default;
Script::~Script() = default;

Ref<Script> Script::parse(std::string_view text, std::string file, std::string directory,
                          Problem& problem) {
    problem.file = file;
    Forms forms;
    if (!read_forms(text, forms, problem)) return {};
    Ref<Script> script(new Script());
    script->content_ = std::move(forms.content);
    script->source_ = make_ref<Source>();
    script->source_->file = std::move(file);
    script->source_->directory = std::move(directory);
    script->root_ = std::make_unique<Instruction>();
    script->root_->op = Instruction::Op::block;
    script->root_->place = 0;
    script->source_->places.push_back(Location{});
    Tokens tokens{forms.forms};
    Parser parser(*script->source_, problem);
    if (!parser.block(tokens, script->root_->body, 0)) return {};
    return script;
}

} // namespace muster::config
