#include "init/dataspace/bound.h"

namespace muster::dataspace {

const char* to_string(Bound bound) {
    switch (bound) {
    case Bound::rewritten_size:
        return "what it sent was dropped: caveats would make it 1048576 bytes larger, or more than "
               "a packet can carry";
    case Bound::rewritten_depth:
        return "what it sent was dropped: caveats would nest it deeper than a packet can";
    case Bound::rewritten_caveats:
        return "what it sent was dropped: caveats would put more than 64 caveats or 16384 bytes of "
               "them on a capability in it";
    case Bound::caveat_looks:
        return "what it sent was dropped: caveats would look at it more than 16 times";
    case Bound::captures:
        return "what it observes was dropped: its pattern captures more, or deeper nested, than a "
               "packet can carry";
    case Bound::pattern:
        return "what it observes is not told: the pattern has too many nodes, an index too large, "
               "or nests too deeply";
    }
    return "";
}

} // namespace muster::dataspace
