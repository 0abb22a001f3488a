// A script as a tree of instructions (reference 3.5). Made once by the parser, never changed after
// that, shared by everything that runs it. A boot has thousands of these: what few have is apart.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "init/base/lazily.h"
#include "init/config/form.h"
#include "init/config/script.h"

namespace muster::config {

// Where a part of the tree stands: an index into Source::places.
using Place = uint32_t;

// What a node has below it.
template <typename T>
using Children = Lazily<std::vector<T>>;

// A template or a pattern.
struct Node {
    enum class Op : uint8_t {
        literal,    // value
        variable,   // $name: value is its symbol
        bind,       // ?name, with items[0] to match, if any; value as above
        discard,    // _
        record,     // items: label, fields
        sequence,   // items
        set,        // items
        dictionary, // items: keys and values in turn
        attenuate,  // items[0] gives the capability; caveats
    };
    struct Caveat;

    Op op = Op::literal;
    Place place = 0;
    Value value;
    Children<Node> items;
    std::unique_ptr<std::vector<Caveat>> caveats;

    std::string_view name() const { return value.view().as_symbol().value_or(""); }
};

struct Node::Caveat {
    enum class Op : uint8_t { rewrite, accept, reject, alternatives };
    Op op;
    Node pattern;
    Node result;                      // of a rewrite
    std::vector<Caveat> alternatives; // rewrite or accept
};

struct Expression {
    enum class Op : uint8_t {
        node, // a template
        dataspace,
        timestamp,
        facet,
        scriptdir,
        stringify, // arguments[0]
        join,      // separator, pieces
        pattern,   // node
    };
    Op op = Op::node;
    Place place = 0;
    Node node;
    Children<Expression> arguments;
};

struct Instruction {
    enum class Op : uint8_t {
        assert_,    // node
        block,      // body
        target,     // body[0] at the variable that is the expression
        during,     // node, body[0]
        on_message, // node, body[0]
        on_stop,    // body[0]
        let,        // node, expression
        message,    // node
        match,      // the variable that is the expression against node: body[0], and no more of
                    // the block
    };
    Op op;
    Place place = 0;
    Node node;
    std::unique_ptr<Expression> expression;
    Children<Instruction> body;
};

} // namespace muster::config
