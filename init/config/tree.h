// A script as a tree of instructions (reference 3.5). Made once by the parser, never changed after
// that, shared by everything that runs it. A boot has thousands of these: what few have is apart.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "init/config/form.h"
#include "init/config/script.h"

namespace muster::config {

// Where a part of the tree stands: an index into Source::places.
using Place = uint32_t;

// The children of a node. Most have none, and are as large as a pointer.
template <typename T>
class Children {
  public:
    bool empty() const { return !made_ || made_->empty(); }
    size_t size() const { return made_ ? made_->size() : 0; }
    const T& operator[](size_t i) const { return (*made_)[i]; }
    const T* begin() const { return made_ ? made_->data() : nullptr; }
    const T* end() const { return made_ ? made_->data() + made_->size() : nullptr; }

    T& emplace_back() {
        if (!made_) made_ = std::make_unique<std::vector<T>>();
        return made_->emplace_back();
    }
    void clear() { made_.reset(); }
    void shrink_to_fit() {
        if (made_) made_->shrink_to_fit();
    }

  private:
    std::unique_ptr<std::vector<T>> made_;
};

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
