// Which of many shapes a message can reach, without asking each of them.
//
// A shape is reached only if the message has, at each of the shape's constant paths, a constant
// that some observer of that shape gave. For every path that any shape uses there is one table from
// constants to the shapes that know them there; a message is looked up once for each path, and the
// shapes that every path allows remain. Shapes have small numbers, given by the caller.
#pragma once

#include <memory>
#include <vector>

#include "init/base/pointer_table.h"
#include "init/dataspace/fields.h"

namespace muster::dataspace {

class Selector {
  public:
    // A set of constants that an observer gave for a shape, in step with `paths`. As often removed
    // as added.
    void add(size_t shape, const std::vector<Path>& paths, View constants);
    void remove(size_t shape, const std::vector<Path>& paths, View constants);

    // Calls visit(shape) for each of `shapes` shapes that may be reached, in ascending order.
    template <typename Visit>
    void select(Fields& fields, size_t shapes, Visit visit) {
        narrow(fields, shapes);
        for (size_t word = 0; word < live_.size(); ++word)
            for (uint64_t bits = live_[word]; bits; bits &= bits - 1)
                visit(word * 64 + static_cast<size_t>(__builtin_ctzll(bits)));
    }

  private:
    using Bits = std::vector<uint64_t>;
    struct Use {
        uint32_t shape;
        uint32_t count;
    };
    struct Constant {
        Value value;
        std::vector<Use> uses;
        uint64_t table_hash() const { return value.hash(); }
    };
    struct Probe {
        Path path;
        std::vector<Use> users; // shapes that have a constant here, and how many observed ones
        Bits others;            // the shapes that have none here
        PointerTable<Constant> constants;
        ~Probe() {
            constants.for_each([](Constant& constant) { delete &constant; });
        }
    };

    Probe& probe_at(const Path& path);
    void narrow(Fields& fields, size_t shapes);
    static bool change(std::vector<Use>& uses, size_t shape, bool add);

    std::vector<std::unique_ptr<Probe>> probes_;
    Bits live_;
    Bits allowed_;
};

} // namespace muster::dataspace
