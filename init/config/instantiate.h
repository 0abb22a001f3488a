// Templates and patterns of a script, with the values of its variables put in.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "init/config/environment.h"
#include "init/config/tree.h"
#include "init/dataspace/actor.h"
#include "init/preserves/encoder.h"

namespace muster::config {

// What went wrong, and where in the tree.
struct Fault {
    Place place = 0;
    std::string message;
};

// The capabilities that `<* $x [CAVEAT …]>` gave. As long as somebody has one, the same caveats on
// the same capability give the same one again, so that a new version of a script says the same
// where it is the same.
class Narrowed : public Counted {
  public:
    Result<dataspace::CapRef> get(const dataspace::CapRef& base, const Value& caveats);

  private:
    std::unordered_map<Value, dataspace::CapRef, preserves::ValueHash, preserves::ValueEqual> caps_;
    size_t sweep_at_ = 64;
};

// The largest value that a script may make, in bytes: one that answers its own messages could
// double it for ever.
inline constexpr size_t max_value_size = 1'048'576;

class Instantiator {
  public:
    // All must outlive it.
    Instantiator(const Environment& environment, Narrowed& narrowed, Fault& fault)
        : environment_(environment), narrowed_(narrowed), fault_(fault) {}

    // The value of a template; invalid, with a fault, if there is none.
    Value value(const Node& node);
    // The pattern as it goes over the wire (reference 2.9); `names` gets the variables in the
    // order in which captures come: outer before inner, keys ascending.
    Value pattern(const Node& node, std::vector<std::string>& names);

  private:
    using Encoder = preserves::Encoder;
    using Names = std::vector<std::string>;

    bool fail(const Node& node, std::string message);
    bool count(const Node& node, View value);
    bool copy(const Node& node, View value, Encoder& out);
    View lookup(const Node& node);
    Value finish(const Node& node, Encoder& out);

    bool write_value(const Node& node, Encoder& out);
    bool write_pattern(const Node& node, Names& names, Encoder& out);
    bool write_entries(const Node& node, Names& names, Encoder& out, bool sturdy, bool capture);

    bool write_caveats(const std::vector<Node::Caveat>& caveats, Encoder& out);
    bool write_caveat(const Node::Caveat& caveat, Encoder& out);
    bool write_sturdy(const Node& node, Names& names, bool capture, Encoder& out);
    bool write_result(const Node& node, const Names& names, Encoder& out);

    const Environment& environment_;
    Narrowed& narrowed_;
    Fault& fault_;
    Value all_;         // what $. gives; made when first asked for
    size_t copied_ = 0; // bytes of variables and constants so far
};

} // namespace muster::config
