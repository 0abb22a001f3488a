// From forms to instructions (reference 3.5).

#include <algorithm>
#include <deque>

#include "init/config/locate.h"
#include "init/config/tree.h"
#include "init/preserves/encoder.h"
#include "init/preserves/text_writer.h"

namespace muster::config {

using preserves::Encoder;
using preserves::Kind;

namespace {

// How deep instructions may nest, counting `$x` and the like: what runs them is recursive.
constexpr size_t max_nesting = 250;

// After how many problems of one text no more are looked for.
constexpr size_t max_problems = 20;

// What a message says was found.
std::string describe(const Form& form) {
    switch (form.kind) {
    case Kind::record: {
        const Form& label = form.items[0];
        std::string text = label.is_compound() ? std::string() : preserves::to_text(label.atom);
        if (text.empty() || text.size() > 40) return "a record";
        return "<" + text + (form.items.size() > 1 ? " …>" : ">");
    }
    case Kind::sequence:
        return form.items.empty() ? "[]" : "[…]";
    case Kind::set:
        return form.items.empty() ? "#{}" : "#{…}";
    case Kind::dictionary:
        return form.items.empty() ? "{}" : "{…}";
    case Kind::embedded:
        return "a capability (#:…)";
    default:
        break;
    }
    std::string text = preserves::to_text(form.atom);
    if (text.size() > 60) return form.kind == Kind::string ? "a long string" : "a long value";
    return text;
}

// The items that are still to be parsed of a block, or of a file, which is read step by step: the
// forms of a long one take much more room than what is made of them.
class Tokens {
  public:
    explicit Tokens(const std::vector<Form>& block) : block_(&block) {}
    explicit Tokens(FormReader& file) : file_(&file) {}

    bool done() {
        if (block_) return next_ == block_->size();
        if (next_ < read_.size()) return false;
        std::optional<Form> form = file_->next();
        if (form) read_.push_back(std::move(*form));
        return !form;
    }
    const Form* peek() { return done() ? nullptr : &at(next_); }
    // REQUIRES: not done.
    const Form& take() { return at(next_++); }
    // The last one that was taken is still to be taken.
    void put_back() { --next_; }
    // REQUIRES: something was taken.
    const Form& last() { return at(next_ - 1); }
    // Nobody will look any more at what was taken, except for the last.
    void forget() {
        if (block_ || next_ < 2) return;
        read_.erase(read_.begin(), read_.begin() + static_cast<long>(next_ - 1));
        next_ = 1;
    }
    // There is more, but it cannot be read. REQUIRES: done.
    bool truncated() const { return file_ && file_->failed(); }
    // What a message calls the end of them.
    const char* end() const { return file_ ? "file" : "block"; }

  private:
    const Form& at(size_t i) { return block_ ? (*block_)[i] : read_[i]; }

    const std::vector<Form>* block_ = nullptr;
    FormReader* file_ = nullptr;
    std::deque<Form> read_; // of the file; they stay where they are
    size_t next_ = 0;
};

// The forms of instructions and expressions, as messages quote them.
constexpr std::string_view during_form = "? PATTERN INSTRUCTION";
constexpr std::string_view message_form = "?? PATTERN INSTRUCTION";
constexpr std::string_view stop_form = "?- INSTRUCTION";
constexpr std::string_view let_form = "let PATTERN = EXPRESSION";
constexpr std::string_view send_form = "! VALUE";
constexpr std::string_view assert_form = "+= VALUE";
constexpr std::string_view target_form = "$name INSTRUCTION";
constexpr std::string_view match_form = "$name =~ PATTERN INSTRUCTION …";
constexpr std::string_view stringify_form = "stringify EXPRESSION";
constexpr std::string_view join_form = "join SEPARATOR PIECES";
constexpr std::string_view pattern_form = "pattern PATTERN";
constexpr std::string_view binder_form = "<?name PATTERN>";
constexpr std::string_view narrow_form = "<* $name [CAVEAT …]>";
constexpr std::string_view any_instruction =
    "<record>, {dictionary}, [block], $name …, ? …, ?? …, ?- …, let …, ! … or += …";
constexpr std::string_view any_caveat =
    "<rewrite PATTERN TEMPLATE>, <accept PATTERN>, <reject PATTERN> or <or [REWRITE-OR-ACCEPT …]>";
constexpr std::string_view inner_caveat = "<rewrite PATTERN TEMPLATE> or <accept PATTERN>";

// Whether an instruction may begin with this: where parsing goes on after an error.
bool may_begin(const Form& form) {
    if (form.kind == Kind::record || form.kind == Kind::dictionary || form.kind == Kind::sequence)
        return true;
    if (form.kind != Kind::symbol) return false;
    std::string_view symbol = form.symbol();
    for (std::string_view word : {"let", "!", "+=", "?", "??", "?-"})
        if (symbol == word) return true;
    return symbol.starts_with('$');
}

enum class Notation : uint8_t {
    template_, // a value is needed
    pattern,   // of ?, ??, let, =~
    caveat,    // the pattern of a caveat: as a pattern, and constant sets are fine
};

class Parser {
  public:
    Parser(Source& source, std::vector<Problem>& problems, const Check& check)
        : source_(source), problems_(problems), check_(check) {}

    // After an error it goes on with the next instruction: nothing that a wrong one could have
    // said is needed to judge the others, since variables are looked up when they are used.
    bool block(Tokens& tokens, Children<Instruction>& out, size_t depth) {
        bool good = true;
        while (!tokens.done()) {
            if (depth == 0) tokens.forget();
            if (instruction(tokens, out.made().emplace_back(), true, depth)) continue;
            good = false;
            if (too_deep_ || problems_.size() >= max_problems) return false;
            while (!tokens.done() && !may_begin(*tokens.peek()))
                tokens.take();
        }
        return good;
    }

  private:
    using Names = std::vector<std::string>;

    bool fail(const Form& form, std::string message) {
        problems_.push_back({source_.file, form.at, std::move(message)});
        return false;
    }

    bool unexpected(const Form& found, std::string_view what, std::string_view form) {
        return fail(found, std::string(form) + ": expected " + std::string(what) + ", found " +
                               describe(found));
    }

    // Within `form`: says what should follow if nothing does.
    bool expect(Tokens& tokens, std::string_view what, std::string_view form) {
        if (!tokens.done()) return true;
        if (tokens.truncated()) return false; // what is wrong there is said already
        return fail(tokens.last(), std::string(form) + ": expected " + std::string(what) +
                                       ", found the end of the " + tokens.end());
    }

    bool too_deep(const Form& form, std::string_view what) {
        too_deep_ = true;
        return fail(form, std::string(what) + " nest too deeply");
    }

    Place place(const Form& form) {
        source_.places.push_back(form.at);
        return static_cast<Place>(source_.places.size() - 1);
    }

    bool instruction(Tokens& tokens, Instruction& out, bool in_block, size_t depth) {
        const Form& form = tokens.take();
        out.place = place(form);
        if (depth >= max_nesting) return too_deep(form, "instructions");
        if (form.kind == Kind::record || form.kind == Kind::dictionary) {
            out.op = Instruction::Op::assert_;
            return node(form, Notation::template_, nullptr, out.node) && checked(form, out);
        }
        if (form.kind == Kind::sequence) {
            out.op = Instruction::Op::block;
            Tokens inner(form.items);
            return block(inner, out.body, depth + 1);
        }
        if (form.kind != Kind::symbol) return no_instruction(form);
        std::string_view symbol = form.symbol();
        if (symbol == "let") return let(tokens, out, depth);
        if (symbol == "!") return with_template(tokens, out, Instruction::Op::message, send_form);
        if (symbol == "+=")
            return with_template(tokens, out, Instruction::Op::assert_, assert_form);
        if (symbol == "?")
            return with_pattern(tokens, out, Instruction::Op::during, during_form, depth);
        if (symbol == "??")
            return with_pattern(tokens, out, Instruction::Op::on_message, message_form, depth);
        if (symbol == "?-") {
            out.op = Instruction::Op::on_stop;
            return expect(tokens, "an instruction", stop_form) && body(tokens, out, depth);
        }
        if (symbol == "=~") {
            return fail(form, std::string(match_form) + ": expected $name before =~");
        }
        if (!symbol.starts_with('$')) return no_instruction(form);
        out.expression = std::make_unique<Expression>();
        if (!node(form, Notation::template_, nullptr, out.expression->node) ||
            !expect(tokens, "an instruction or =~", target_form))
            return false;
        if (tokens.peek()->is_symbol("=~")) return match(tokens, out, in_block, depth);
        out.op = Instruction::Op::target;
        return body(tokens, out, depth);
    }

    bool no_instruction(const Form& form) {
        return fail(form, "expected an instruction (" + std::string(any_instruction) + "), found " +
                              describe(form));
    }

    bool unnamed(const Form& form, const char* sign) {
        return fail(form, std::string("expected the name of a variable after ") + sign);
    }

    bool body(Tokens& tokens, Instruction& out, size_t depth) {
        return instruction(tokens, out.body.made().emplace_back(), false, depth + 1);
    }

    bool with_template(Tokens& tokens, Instruction& out, Instruction::Op op,
                       std::string_view form) {
        out.op = op;
        if (!expect(tokens, "a value", form)) return false;
        const Form& value = tokens.take();
        return node(value, Notation::template_, nullptr, out.node) && checked(value, out);
    }

    // What an assertion says, if that is known already.
    bool checked(const Form& form, const Instruction& out) {
        if (!check_ || out.op != Instruction::Op::assert_ || out.node.op != Node::Op::literal)
            return true;
        View value = out.node.value.view();
        auto wrong = check_(value);
        for (auto& [part, message] : wrong)
            problems_.push_back({source_.file, locate(form, value, part), std::move(message)});
        return wrong.empty();
    }

    bool with_pattern(Tokens& tokens, Instruction& out, Instruction::Op op, std::string_view form,
                      size_t depth) {
        out.op = op;
        if (!expect(tokens, "a pattern and an instruction", form)) return false;
        bool good = pattern(tokens.take(), out.node);
        // Also if the pattern is wrong: its instruction is not one of its own.
        return expect(tokens, "an instruction", form) && body(tokens, out, depth) && good;
    }

    bool pattern(const Form& form, Node& out) {
        Names names;
        return node(form, Notation::pattern, &names, out);
    }

    bool let(Tokens& tokens, Instruction& out, size_t depth) {
        out.op = Instruction::Op::let;
        if (!expect(tokens, "a pattern", let_form) || !pattern(tokens.take(), out.node))
            return false;
        if (!expect(tokens, "=", let_form)) return false;
        const Form& equals = tokens.take();
        if (!equals.is_symbol("=")) {
            tokens.put_back(); // it may begin the next instruction
            return unexpected(equals, "=", let_form);
        }
        out.expression = std::make_unique<Expression>();
        return expect(tokens, "an expression", let_form) &&
               expression(tokens, *out.expression, depth + 1);
    }

    // $x =~ PATTERN INSTRUCTION, and the rest of the block if it does not match. In a block that
    // rest simply follows. Elsewhere (? P $x =~ …) the two make a block of their own.
    bool match(Tokens& tokens, Instruction& out, bool in_block, size_t depth) {
        tokens.take();
        Instruction test;
        test.op = Instruction::Op::match;
        test.place = out.place;
        test.expression = std::move(out.expression);
        if (!expect(tokens, "a pattern and an instruction", match_form)) return false;
        bool good = pattern(tokens.take(), test.node);
        if (!expect(tokens, "an instruction", match_form) || !body(tokens, test, depth) || !good)
            return false;
        if (in_block) {
            out = std::move(test);
            return true;
        }
        out.op = Instruction::Op::block;
        out.body.made().emplace_back() = std::move(test);
        return block(tokens, out.body, depth + 1);
    }

    bool expression(Tokens& tokens, Expression& out, size_t depth) {
        const Form& form = tokens.take();
        out.place = place(form);
        if (depth >= max_nesting) return too_deep(form, "expressions");
        std::string_view symbol = form.symbol();
        if (symbol == "dataspace") return plain(out, Expression::Op::dataspace);
        if (symbol == "timestamp") return plain(out, Expression::Op::timestamp);
        if (symbol == "facet") return plain(out, Expression::Op::facet);
        if (symbol == "scriptdir") return plain(out, Expression::Op::scriptdir);
        if (symbol == "stringify") {
            out.op = Expression::Op::stringify;
            return argument(tokens, out, "an expression", stringify_form, depth);
        }
        if (symbol == "join") {
            out.op = Expression::Op::join;
            return argument(tokens, out, "a separator", join_form, depth) &&
                   argument(tokens, out, "pieces", join_form, depth);
        }
        if (symbol == "pattern") {
            out.op = Expression::Op::pattern;
            return expect(tokens, "a pattern", pattern_form) && pattern(tokens.take(), out.node);
        }
        return node(form, Notation::template_, nullptr, out.node);
    }

    static bool plain(Expression& out, Expression::Op op) {
        out.op = op;
        return true;
    }

    bool argument(Tokens& tokens, Expression& out, std::string_view what, std::string_view form,
                  size_t depth) {
        return expect(tokens, what, form) &&
               expression(tokens, out.arguments.made().emplace_back(), depth + 1);
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
                return fail(form, "expected a pattern, found a set, which none can match");
            }
            out.op = Node::Op::set;
            return items(form, 0, Notation::template_, nullptr, out) && fold(form, out);
        case Kind::dictionary:
            return dictionary(form, notation, names, out);
        case Kind::embedded:
            return fail(form, "a capability cannot be written in a script, only named ($name)");
        default:
            out.value = form.atom;
            return true;
        }
    }

    bool symbol(const Form& form, Notation notation, Names* names, Node& out) {
        std::string_view symbol = form.symbol();
        if (symbol == "_") {
            if (notation == Notation::template_) {
                return fail(form, "expected a value, found _, which is for patterns (=_ is the "
                                  "symbol)");
            }
            out.op = Node::Op::discard;
        } else if (symbol.starts_with('?')) {
            return bind(form, notation, names, out);
        } else if (symbol.starts_with('$')) {
            if (symbol.size() == 1) return unnamed(form, "$");
            out.op = Node::Op::variable;
            out.value = preserves::symbol(symbol.substr(1));
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
            return fail(form, "expected a value, found ?" + name + ", which is for patterns (=?" +
                                  name + " is the symbol)");
        }
        if (name.empty()) return unnamed(form, "?");
        if (std::find(names->begin(), names->end(), name) != names->end()) {
            return fail(form, "?" + name + " is bound twice in one pattern");
        }
        out.op = Node::Op::bind;
        out.value = preserves::symbol(name);
        names->push_back(std::move(name));
        return true;
    }

    bool record(const Form& form, Notation notation, Names* names, Node& out) {
        const Form& label = form.items[0];
        if (label.is_symbol("*")) return attenuation(form, out);
        if (notation != Notation::template_ && label.symbol().starts_with('?')) {
            if (!bind(label, notation, names, out)) return false;
            if (form.items.size() != 2) {
                return fail(form, std::string(binder_form) + ": expected one pattern, found " +
                                      std::to_string(form.items.size() - 1));
            }
            return node(form.items[1], notation, names, out.items.made().emplace_back());
        }
        if (notation != Notation::template_ && label.is_symbol("_")) {
            return fail(label, "expected the label of a record, found _: it cannot be left open");
        }
        out.op = Node::Op::record;
        return node(label, Notation::template_, nullptr, out.items.made().emplace_back()) &&
               items(form, 1, notation, names, out) && fold(form, out);
    }

    bool items(const Form& form, size_t first, Notation notation, Names* names, Node& out) {
        for (size_t i = first; i < form.items.size(); ++i) {
            if (!node(form.items[i], notation, names, out.items.made().emplace_back()))
                return false;
        }
        return true;
    }

    bool dictionary(const Form& form, Notation notation, Names* names, Node& out) {
        out.op = Node::Op::dictionary;
        for (size_t i = 0; i + 1 < form.items.size(); i += 2) {
            const Form& key = form.items[i];
            if (notation != Notation::template_ &&
                (key.is_symbol("_") || key.symbol().starts_with('?'))) {
                return fail(key, "expected a key, found " + describe(key) +
                                     ": the keys of a dictionary cannot be left open");
            }
            if (!node(key, Notation::template_, nullptr, out.items.made().emplace_back()) ||
                !node(form.items[i + 1], notation, names, out.items.made().emplace_back())) {
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
        out.items.clear();
        source_.places.resize(out.place + size_t{1}); // those of its parts say nothing any more
        return true;
    }

    // ---- <* CAPABILITY [CAVEAT …]> ----

    bool attenuation(const Form& form, Node& out) {
        if (form.items.size() != 3) {
            return fail(form, std::string(narrow_form) + ": expected two fields, found " +
                                  std::to_string(form.items.size() - 1) + " (<=* …> is a record)");
        }
        std::string_view base = form.items[1].symbol();
        if (base.size() < 2 || !base.starts_with('$'))
            return unexpected(form.items[1], "$name", narrow_form);
        if (form.items[2].kind != Kind::sequence)
            return unexpected(form.items[2], "[CAVEAT …]", narrow_form);
        out.op = Node::Op::attenuate;
        if (!node(form.items[1], Notation::template_, nullptr, out.items.made().emplace_back()))
            return false;
        out.caveats = std::make_unique<std::vector<Node::Caveat>>();
        for (const Form& item : form.items[2].items) {
            if (!caveat(item, true, out.caveats->emplace_back())) return false;
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
        return fail(form, "expected " + std::string(outermost ? any_caveat : inner_caveat) +
                              ", found " + describe(form));
    }

    Source& source_;
    std::vector<Problem>& problems_;
    const Check& check_;
    bool too_deep_ = false;
};

} // namespace

Script::Script() = default;
Script::~Script() = default;

Ref<Script> Script::parse(std::string_view text, std::string file, std::string directory,
                          std::vector<Problem>& problems, Check check) {
    Ref<Script> script(new Script());
    script->source_ = make_ref<Source>();
    script->source_->file = std::move(file);
    script->source_->directory = std::move(directory);
    script->root_ = std::make_unique<Instruction>();
    script->root_->op = Instruction::Op::block;
    script->root_->place = 0;
    script->source_->places.push_back(Location{});
    FormReader reader(text);
    Tokens tokens(reader);
    script->check_ = std::move(check);
    Parser parser(*script->source_, problems, script->check_);
    bool good = parser.block(tokens, script->root_->body, 0);
    script->root_->body.made().shrink_to_fit();
    script->source_->places.shrink_to_fit();
    script->content_ = reader.content();
    if (reader.failed()) {
        Problem unreadable = reader.problem();
        unreadable.file = script->source_->file;
        problems.push_back(std::move(unreadable));
    }
    return good && !reader.failed() ? script : nullptr;
}

} // namespace muster::config
