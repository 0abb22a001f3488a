// The index of a dataspace: which assertions there are, and who observes which of them.
//
// Assertions and patterns are sorted by class (record label; sequence; dictionary; atom; the rest).
// Below a class, observers are grouped by *shape*: all of their pattern but its constants. Below a
// shape, a hash table leads from the constants to a *leaf*, which keeps the capture sequences of
// the assertions that match (a bag: different assertions may give the same) and the observers.
// So an assertion costs its matches plus the shapes under its label; other labels and other
// constants cost nothing. Patterns that fix no class are asked about every assertion.
// A message costs less still where a class has many shapes: a Selector knows which of them it can
// reach.
//
// A leaf exists as long as it has captures or observers; a shape as long as it has observers.
#pragma once

#include <memory>
#include <vector>

#include "init/base/pointer_table.h"
#include "init/dataspace/actor.h"
#include "init/dataspace/fields.h"
#include "init/dataspace/selector.h"

namespace muster::dataspace {

class Index {
  public:
    // An assertion that is here, once or several times.
    struct Entry;

    Index();
    ~Index();

    // One more copy of `value`. Tells observers if it is the first.
    Entry* add(Turn& turn, const Value& value);
    // One copy less. Tells observers if it was the last; then the entry is gone.
    void remove(Turn& turn, Entry* entry);
    void send(Turn& turn, const Value& message);

    size_t size() const { return assertions_.size(); }

  private:
    struct Capture; // a sequence of captured values
    struct Leaf;
    struct Shape;
    struct Class;
    struct Observer;

    Class& records_with(View label);
    Class& class_of(View value);
    Class& class_of(const Pattern& pattern);
    void insert(Turn& turn, Class& where, Fields& fields);
    void erase(Turn& turn, Class& where, Fields& fields);
    void send(Turn& turn, Class& where, Fields& fields);
    void send(Turn& turn, Shape& shape, Fields& fields);
    void observe(Turn& turn, Entry& entry);
    void unobserve(Turn& turn, Entry& entry);
    Shape& shape_for(Class& where, Pattern&& pattern, const Value& name);
    void forget_shape(Class& where, Shape& shape);
    void populate(Turn& turn, const Class& where, Shape& shape);
    void add_all(Turn& turn, const Class& where, Shape& shape);
    bool take_captures(Turn& turn, const Shape& shape, Fields& fields);
    void say_too_much(Turn& turn, const Shape& shape, bool may_embed);
    void forget_if_empty(Class& where);
    bool key_of(const Shape& shape, Fields& fields);
    bool capture(const Shape& shape, Fields& fields);
    static View captured_run(const Shape& shape, Fields& fields);
    Value captured_by(const Shape& shape, Fields& fields);
    Leaf* leaf_of(const Shape& shape, View key) const;
    Leaf& leaf_made(Shape& shape, View key);
    void forget_leaf_if_empty(Shape& shape, Leaf& leaf);

    PointerTable<Entry> assertions_;
    PointerTable<Class> records_;
    std::unique_ptr<Class> sequences_;
    std::unique_ptr<Class> dictionaries_;
    std::unique_ptr<Class> atoms_; // capabilities as well
    std::unique_ptr<Class> sets_;
    std::unique_ptr<Class> any_; // shapes only: patterns that fix no class
    Class* latest_ = nullptr;    // of records; mostly the next message has the same label
    ByteBuffer key_;             // scratch: the constants of a value
    ByteBuffer capture_;         // scratch: its captures
    bool too_much_ = false;      // they were there, but beyond a bound
};

} // namespace muster::dataspace
