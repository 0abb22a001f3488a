#include "init/dataspace/index.h"

#include <algorithm>

#include "init/dataspace/engine.h"

namespace muster::dataspace {

using preserves::Kind;

namespace {

// From so many shapes in a class on, a selector pays.
constexpr size_t many_shapes = 8;

// How many fields of a record or sequence these are, if they are side by side; else 0.
uint32_t side_by_side(const std::vector<Path>& paths) {
    for (size_t i = 0; i < paths.size(); ++i) {
        if (paths[i].size() != 1 || paths[i][0].key.valid()) return 0;
        if (paths[i][0].index != paths[0][0].index + i) return 0;
    }
    return static_cast<uint32_t>(paths.size());
}

} // namespace

struct Index::Capture {
    explicit Capture(View captured) : value(captured) {}
    Capture(const Capture&) = delete;
    Capture& operator=(const Capture&) = delete;
    ~Capture() {
        if (room > 1) delete[] many;
    }
    uint64_t table_hash() const { return value.hash(); }

    // What was asserted to the leaf's observers, in step with them. A single one, the usual case,
    // lies in the place of the pointer to them.
    Handle& handle(size_t i) { return room > 1 ? many[i] : one; }
    // That of an observer behind `known` others.
    void add_handle(size_t known, Handle handle_of_next) {
        if (known == room) grow();
        handle(known) = handle_of_next;
    }

    Value value;
    uint32_t count = 1; // assertions that give it

  private:
    void grow() {
        auto* more = new Handle[size_t{room} * 2];
        for (size_t i = 0; i < room; ++i)
            more[i] = handle(i);
        if (room > 1) delete[] many;
        many = more;
        room *= 2;
    }

    uint32_t room = 1;
    union {
        Handle one = 0;
        Handle* many;
    };
};

struct Index::Leaf {
    Value constants;
    PointerTable<Capture> captures;
    std::vector<Observer*> observers;

    uint64_t table_hash() const { return constants.hash(); }
    ~Leaf() {
        captures.for_each([](Capture& capture) { delete &capture; });
    }
    Capture* find(uint64_t hash, View captured) const {
        return captures.find(hash, [&](Capture& each) { return each.value.view() == captured; });
    }
    // A new one; what is captured is not here yet.
    Capture& add(uint64_t hash, View captured) {
        auto* capture = new Capture(captured);
        captures.insert(hash, capture);
        return *capture;
    }
};

struct Index::Shape {
    ~Shape() {
        leaves.for_each([](Leaf& leaf) { delete &leaf; });
    }
    Value name;      // Pattern::shape()
    Pattern pattern; // its constants are not looked at
    PointerTable<Leaf> leaves;
    size_t observers = 0;
    size_t number = 0;    // in its class
    Leaf* sole = nullptr; // of a shape without constants
    // If all captures are fields side by side of the value itself: which, and how many.
    uint32_t first_captured = 0;
    uint32_t captured_fields = 0;
    // And nothing else is asked but that these are there.
    bool only_fields = false;
};

struct Index::Class {
    Value label; // of a class of records
    std::vector<std::unique_ptr<Shape>> shapes;
    std::unique_ptr<Selector> selector; // if there are many shapes
    Entry* first = nullptr;             // a list of the assertions
    uint64_t table_hash() const { return label.hash(); }
};

// What an assertion is as an Observe.
struct Index::Observer {
    CapRef target;
    Class* where = nullptr;
    Shape* shape = nullptr;
    Leaf* leaf = nullptr;
    size_t index = 0; // in the leaf's list
};

struct Index::Entry {
    Value value;
    uint32_t count = 0;
    Entry* next = nullptr; // in the list of its class
    Entry* previous = nullptr;
    std::unique_ptr<Observer> observer;
    uint64_t table_hash() const { return value.hash(); }
};

Index::Index()
    : sequences_(std::make_unique<Class>()), dictionaries_(std::make_unique<Class>()),
      atoms_(std::make_unique<Class>()), sets_(std::make_unique<Class>()),
      any_(std::make_unique<Class>()) {}

Index::~Index() {
    assertions_.for_each([](Entry& entry) { delete &entry; });
    records_.for_each([](Class& each) { delete &each; });
}

Index::Class& Index::records_with(View label) {
    const uint64_t hash = label.hash();
    Class* found = records_.find(hash, [&](Class& each) { return each.label.view() == label; });
    if (!found) {
        found = new Class;
        found->label = Value(label);
        records_.insert(hash, found);
    }
    return *found;
}

Index::Class& Index::class_of(View value) {
    switch (value.kind()) {
    case Kind::record:
        return records_with(value.label());
    case Kind::sequence:
        return *sequences_;
    case Kind::dictionary:
        return *dictionaries_;
    case Kind::set:
        return *sets_;
    default:
        return *atoms_;
    }
}

Index::Class& Index::class_of(const Pattern& pattern) {
    switch (pattern.root) {
    case Pattern::Class::record:
        return records_with(pattern.nodes[0].label);
    case Pattern::Class::sequence:
        return *sequences_;
    case Pattern::Class::dictionary:
        return *dictionaries_;
    case Pattern::Class::atom:
        return *atoms_;
    case Pattern::Class::any:
        break;
    }
    return *any_;
}

// The constants of a value for `shape`, into key_. False if the value does not fit.
bool Index::key_of(const Shape& shape, Fields& fields) {
    if (!shape.only_fields && !shape.pattern.fits_below_root(fields)) return false;
    key_.clear();
    return shape.sole || collect(fields, shape.pattern.constant_paths, key_);
}

bool Index::capture(const Shape& shape, Fields& fields) {
    too_much_ = false;
    capture_.clear();
    if (shape.captured_fields == 0)
        return collect(fields, shape.pattern.captures, capture_, &too_much_);
    View run = captured_run(shape, fields);
    if (!run.valid()) return false;
    capture_.push_back(preserves::tag::sequence);
    capture_.append(run.bytes());
    capture_.push_back(preserves::tag::end);
    too_much_ = !within_bounds(capture_.bytes());
    return !too_much_;
}

// It is said of those for whom the value of key_ would have been captured.
void Index::say_too_much(Turn& turn, const Shape& shape, bool may_embed) {
    const Leaf* leaf = leaf_of(shape, View(key_.bytes(), may_embed));
    if (!leaf) return;
    for (const Observer* observer : leaf->observers)
        turn.engine().exceeded(observer->target->actor(), Bound::captures);
}

// Captured fields that are side by side are one run of bytes. Invalid if they are not all there.
View Index::captured_run(const Shape& shape, Fields& fields) {
    View last = fields.at(shape.first_captured + shape.captured_fields - 1);
    if (!last.valid()) return {};
    const uint8_t* first = fields.at(shape.first_captured).bytes().data();
    return {preserves::Bytes(first, last.bytes().data() + last.bytes().size()), last.may_embed()};
}

// The key and the captures of an assertion that is new to `shape`; false if it has none there.
bool Index::take_captures(Turn& turn, const Shape& shape, Fields& fields) {
    if (!key_of(shape, fields)) return false;
    if (capture(shape, fields)) return true;
    if (too_much_) say_too_much(turn, shape, fields.value().may_embed());
    return false;
}

Index::Leaf* Index::leaf_of(const Shape& shape, View key) const {
    if (shape.sole) return shape.sole;
    return shape.leaves.find(key.hash(), [&](Leaf& leaf) { return leaf.constants.view() == key; });
}

Index::Leaf& Index::leaf_made(Shape& shape, View key) {
    if (Leaf* known = leaf_of(shape, key)) return *known;
    Leaf* leaf = new Leaf;
    leaf->constants = Value(key);
    shape.leaves.insert(key.hash(), leaf);
    if (shape.pattern.constant_paths.empty()) shape.sole = leaf;
    return *leaf;
}

void Index::forget_leaf_if_empty(Shape& shape, Leaf& leaf) {
    if (!leaf.observers.empty() || !leaf.captures.empty()) return;
    shape.leaves.erase(leaf.constants.hash(), &leaf);
    if (shape.sole) shape.sole = nullptr;
    delete &leaf;
}

Index::Entry* Index::add(Turn& turn, const Value& value) {
    const uint64_t hash = value.hash();
    Entry* entry = assertions_.find(hash, [&](Entry& each) { return each.value == value; });
    if (entry) {
        ++entry->count;
        return entry;
    }
    entry = new Entry;
    entry->value = value;
    entry->count = 1;
    assertions_.insert(hash, entry);
    Class& where = class_of(value);
    entry->next = where.first;
    if (where.first) where.first->previous = entry;
    where.first = entry;
    Fields fields(entry->value);
    insert(turn, where, fields);
    insert(turn, *any_, fields);
    if (value.view().is_record("Observe", 2)) observe(turn, *entry);
    return entry;
}

void Index::remove(Turn& turn, Entry* entry) {
    if (--entry->count > 0) return;
    if (entry->observer) unobserve(turn, *entry);
    Class& where = class_of(entry->value);
    Fields fields(entry->value);
    erase(turn, where, fields);
    erase(turn, *any_, fields);
    if (entry->next) entry->next->previous = entry->previous;
    if (entry->previous)
        entry->previous->next = entry->next;
    else
        where.first = entry->next;
    assertions_.erase(entry->value.hash(), entry);
    delete entry;
    forget_if_empty(where);
}

void Index::forget_if_empty(Class& where) {
    if (where.first || !where.shapes.empty() || !where.label.valid()) return;
    records_.erase(where.label.hash(), &where);
    if (latest_ == &where) latest_ = nullptr;
    delete &where;
}

void Index::send(Turn& turn, const Value& message) {
    Fields fields(message);
    if (message.kind() != Kind::record) {
        send(turn, class_of(message), fields);
    } else {
        // A message makes no class: nobody observes a label that is unknown here.
        View label = fields.label();
        if (!latest_ || !(latest_->label.view() == label))
            latest_ = records_.find(label.hash(),
                                    [&](Class& each) { return each.label.view() == label; });
        if (latest_) send(turn, *latest_, fields);
    }
    if (!any_->shapes.empty()) send(turn, *any_, fields);
}

void Index::insert(Turn& turn, Class& where, Fields& fields) {
    const bool may_embed = fields.value().may_embed();
    for (const auto& shape : where.shapes) {
        if (!take_captures(turn, *shape, fields)) continue;
        Leaf& leaf = leaf_made(*shape, View(key_.bytes(), may_embed));
        View captured(capture_.bytes(), may_embed);
        const uint64_t hash = captured.hash();
        if (Capture* known = leaf.find(hash, captured)) {
            ++known->count;
            continue;
        }
        Capture& fresh = leaf.add(hash, captured);
        for (size_t i = 0; i < leaf.observers.size(); ++i)
            fresh.add_handle(i, turn.assert_(leaf.observers[i]->target, fresh.value));
    }
}

void Index::erase(Turn& turn, Class& where, Fields& fields) {
    const bool may_embed = fields.value().may_embed();
    for (const auto& shape : where.shapes) {
        if (!key_of(*shape, fields) || !capture(*shape, fields)) continue;
        Leaf* leaf = leaf_of(*shape, View(key_.bytes(), may_embed));
        if (!leaf) continue;
        View captured(capture_.bytes(), may_embed);
        const uint64_t hash = captured.hash();
        Capture* known = leaf->find(hash, captured);
        if (!known || --known->count > 0) continue;
        for (size_t i = 0; i < leaf->observers.size(); ++i)
            turn.retract(known->handle(i));
        leaf->captures.erase(hash, known);
        delete known;
        forget_leaf_if_empty(*shape, *leaf);
    }
}

void Index::send(Turn& turn, Class& where, Fields& fields) {
    if (where.selector) {
        where.selector->select(fields, where.shapes.size(),
                               [&](size_t number) { send(turn, *where.shapes[number], fields); });
        return;
    }
    for (const auto& shape : where.shapes)
        send(turn, *shape, fields);
}

// The captures of a message; invalid if they are not all there or too large.
Value Index::captured_by(const Shape& shape, Fields& fields) {
    constexpr size_t small = 256; // which no bound is about
    const View run = shape.captured_fields ? captured_run(shape, fields) : View();
    if (run.valid() && run.bytes().size() < small) return preserves::sequence_of_run(run);
    if (!capture(shape, fields)) return {};
    return Value(View(capture_.bytes(), fields.value().may_embed()));
}

void Index::send(Turn& turn, Shape& shape, Fields& fields) {
    const bool may_embed = fields.value().may_embed();
    if (!key_of(shape, fields)) return;
    Leaf* leaf = leaf_of(shape, View(key_.bytes(), may_embed));
    if (!leaf || leaf->observers.empty()) return;
    const Value body = captured_by(shape, fields);
    if (!body.valid()) {
        if (too_much_) say_too_much(turn, shape, may_embed);
        return;
    }
    for (Observer* observer : leaf->observers)
        turn.message(observer->target, body);
}

// A pattern that does not parse makes the assertion plain data. One that exceeds a bound is the
// work of caveats here: what a peer itself sends is bounded before.
void Index::observe(Turn& turn, Entry& entry) {
    View assertion = entry.value;
    CapRef target = cap_of(assertion.at(1));
    if (!target) return;
    bool exceeded = false;
    Result<Pattern> pattern = Pattern::parse(assertion.at(0), &exceeded);
    const Value name = pattern ? pattern->shape() : Value();
    if (exceeded || (pattern && !name.valid())) // nested too deeply to be named
        turn.engine().exceeded(target->actor(), Bound::pattern);
    if (!name.valid()) return;

    Class& where = class_of(*pattern);
    const Value constants = preserves::sequence(pattern->constants);
    Shape& shape = shape_for(where, *std::move(pattern), name);
    const bool fresh = shape.observers++ == 0;
    Leaf& leaf = leaf_made(shape, constants);
    if (leaf.observers.empty() && where.selector)
        where.selector->add(shape.number, shape.pattern.constant_paths, leaf.constants);
    entry.observer = std::make_unique<Observer>();
    entry.observer->target = target;
    entry.observer->where = &where;
    entry.observer->shape = &shape;
    entry.observer->leaf = &leaf;
    entry.observer->index = leaf.observers.size();
    const size_t others = leaf.observers.size();
    leaf.observers.push_back(entry.observer.get());
    if (fresh) populate(turn, where, shape);
    leaf.captures.for_each(
        [&](Capture& capture) { capture.add_handle(others, turn.assert_(target, capture.value)); });
}

Index::Shape& Index::shape_for(Class& where, Pattern&& pattern, const Value& name) {
    for (const auto& shape : where.shapes)
        if (shape->name == name) return *shape;
    where.shapes.push_back(std::make_unique<Shape>());
    Shape& shape = *where.shapes.back();
    shape.name = name;
    shape.pattern = std::move(pattern);
    shape.number = where.shapes.size() - 1;
    shape.captured_fields = side_by_side(shape.pattern.captures);
    if (shape.captured_fields) {
        shape.first_captured = shape.pattern.captures[0][0].index;
        shape.only_fields =
            shape.pattern.nodes.size() == 1 && shape.pattern.present.empty() &&
            shape.pattern.nodes[0].min_count <= shape.first_captured + shape.captured_fields;
    }
    if (where.shapes.size() == many_shapes && !where.selector) {
        where.selector = std::make_unique<Selector>();
        for (const auto& each : where.shapes) {
            each->leaves.for_each([&](Leaf& leaf) {
                if (!leaf.observers.empty())
                    where.selector->add(each->number, each->pattern.constant_paths, leaf.constants);
            });
        }
    }
    return shape;
}

void Index::unobserve(Turn& turn, Entry& entry) {
    Observer& observer = *entry.observer;
    Class& where = *observer.where;
    Shape& shape = *observer.shape;
    Leaf& leaf = *observer.leaf;
    leaf.captures.for_each([&](Capture& capture) {
        turn.retract(capture.handle(observer.index));
        capture.handle(observer.index) = capture.handle(leaf.observers.size() - 1);
    });
    leaf.observers.back()->index = observer.index;
    leaf.observers[observer.index] = leaf.observers.back();
    leaf.observers.pop_back();
    if (leaf.observers.empty() && where.selector)
        where.selector->remove(shape.number, shape.pattern.constant_paths, leaf.constants);
    forget_leaf_if_empty(shape, leaf);
    entry.observer.reset();
    if (--shape.observers == 0) forget_shape(where, shape);
    forget_if_empty(where);
}

// The last shape takes its number.
void Index::forget_shape(Class& where, Shape& shape) {
    auto each_observed = [&](Shape& s, auto change) {
        s.leaves.for_each([&](Leaf& leaf) {
            if (!leaf.observers.empty()) change(leaf);
        });
    };
    Shape& last = *where.shapes.back();
    if (where.selector && &last != &shape) {
        each_observed(last, [&](Leaf& leaf) {
            where.selector->remove(last.number, last.pattern.constant_paths, leaf.constants);
            where.selector->add(shape.number, last.pattern.constant_paths, leaf.constants);
        });
    }
    const size_t number = shape.number;
    last.number = number;
    std::swap(where.shapes[number], where.shapes.back());
    where.shapes.pop_back();
    if (where.shapes.size() < many_shapes / 2) where.selector.reset();
}

// What is there already, into a shape that is new.
void Index::populate(Turn& turn, const Class& where, Shape& shape) {
    if (&where != any_.get()) {
        add_all(turn, where, shape);
        return;
    }
    for (const auto* each : {&sequences_, &dictionaries_, &atoms_, &sets_})
        add_all(turn, **each, shape);
    records_.for_each([&](Class& each) { add_all(turn, each, shape); });
}

void Index::add_all(Turn& turn, const Class& where, Shape& shape) {
    for (const Entry* entry = where.first; entry; entry = entry->next) {
        Fields fields(entry->value);
        if (!take_captures(turn, shape, fields)) continue;
        const bool may_embed = entry->value.has_embedded();
        Leaf& leaf = leaf_made(shape, View(key_.bytes(), may_embed));
        View captured(capture_.bytes(), may_embed);
        const uint64_t hash = captured.hash();
        if (Capture* known = leaf.find(hash, captured))
            ++known->count;
        else
            leaf.add(hash, captured);
    }
}

} // namespace muster::dataspace
