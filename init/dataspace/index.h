// The index of a dataspace: which assertions there are, and who observes which of them.
//
// Assertions and patterns are sorted by class (record label; sequence; dictionary; atom; the rest).
// Below a class, observers are grouped by *shape*: all of their pattern but its constants. Below a
// shape, a hash table leads from the constants to a *leaf*, which keeps the capture sequences of
// the assertions that match (a bag: different assertions may give the same) and the observers.
// So an assertion costs its matches plus the shapes under its label; other labels and other
// constants cost nothing. Patterns that fix no class are asked about every assertion.
//
// A leaf exists as long as it has captures or observers; a shape as long as it has observers.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "init/dataspace/actor.h"
#include "init/dataspace/pattern.h"

namespace muster::dataspace {

struct Observer {
    CapRef target;
    size_t index = 0; // in its leaf's list
    std::unordered_map<Value, Handle, preserves::ValueHash, preserves::ValueEqual> sent;
};

class Index {
  public:
    Index();
    ~Index();

    // One more copy of `value`. Tells observers if it is the first.
    void add(Turn& turn, const Value& value);
    // One copy less. REQUIRES that it was added. Tells observers if it was the last.
    void remove(Turn& turn, const Value& value);
    void send(Turn& turn, const Value& message);

    size_t size() const { return assertions_.size(); }

  private:
    struct Leaf {
        std::unordered_map<Value, uint32_t, preserves::ValueHash, preserves::ValueEqual> captures;
        std::vector<Observer*> observers;
    };
    struct Shape {
        Pattern pattern; // its constants are not looked at
        std::unordered_map<Value, Leaf, preserves::ValueHash, preserves::ValueEqual> leaves;
        size_t observers = 0;
    };
    struct Class;
    struct Entry { // an assertion
        uint32_t count = 0;
        const Value* value = nullptr; // the key of this entry
        Entry* next = nullptr;        // in the list of its class
        Entry* previous = nullptr;
        std::unique_ptr<Observer> observer; // if it is an Observe
        Class* observed_class = nullptr;
        Value observed_shape;
        Value observed_constants;
    };
    struct Class {
        std::unordered_map<Value, Shape, preserves::ValueHash, preserves::ValueEqual> shapes;
        Entry* first = nullptr;
        Value label; // of a class of records
    };

    Class& records_with(View label);
    Class& class_of(View value);
    Class& class_of(const Pattern& pattern);
    void insert(Turn& turn, Class& where, View value);
    void erase(Turn& turn, Class& where, View value);
    void send(Turn& turn, Class& where, View message);
    void observe(Turn& turn, Entry& entry);
    void unobserve(Turn& turn, Entry& entry);
    void populate(Shape& shape, const Class& where);
    void forget_if_empty(Class& where);
    bool key_of(const Shape& shape, View value);

    std::unordered_map<Value, Entry, preserves::ValueHash, preserves::ValueEqual> assertions_;
    std::unordered_map<Value, Class, preserves::ValueHash, preserves::ValueEqual> records_;
    Class sequences_;
    Class dictionaries_;
    Class atoms_; // capabilities as well
    Class sets_;
    Class any_;                    // shapes only: patterns that fix no class
    std::vector<uint8_t> key_;     // scratch: the constants of a value
    std::vector<uint8_t> capture_; // scratch: its captures
};

} // namespace muster::dataspace
