#include "init/dataspace/index.h"

namespace muster::dataspace {

using preserves::Kind;

Index::Index() = default;
Index::~Index() = default;

Index::Class& Index::records_with(View label) {
    auto found = records_.find(label);
    if (found == records_.end()) {
        found = records_.emplace(Value(label), Class()).first;
        found->second.label = found->first;
    }
    return found->second;
}

Index::Class& Index::class_of(View value) {
    switch (value.kind()) {
    case Kind::record:
        return records_with(value.label());
    case Kind::sequence:
        return sequences_;
    case Kind::dictionary:
        return dictionaries_;
    case Kind::set:
        return sets_;
    default:
        return atoms_;
    }
}

Index::Class& Index::class_of(const Pattern& pattern) {
    switch (pattern.root) {
    case Pattern::Class::record:
        return records_with(pattern.nodes[0].label);
    case Pattern::Class::sequence:
        return sequences_;
    case Pattern::Class::dictionary:
        return dictionaries_;
    case Pattern::Class::atom:
        return atoms_;
    case Pattern::Class::any:
        break;
    }
    return any_;
}

// The constants of `value` for `shape`, into key_. False if the value does not fit.
bool Index::key_of(const Shape& shape, View value) {
    if (!shape.pattern.fits(value)) return false;
    key_.clear();
    return collect(value, shape.pattern.constant_paths, key_);
}

void Index::add(Turn& turn, const Value& value) {
    Entry& entry = assertions_[value];
    if (entry.count++ > 0) return;
    entry.value = &assertions_.find(value)->first;
    Class& where = class_of(value);
    entry.next = where.first;
    if (where.first) where.first->previous = &entry;
    where.first = &entry;
    insert(turn, where, value);
    insert(turn, any_, value);
    if (value.view().is_record("Observe", 2)) observe(turn, entry);
}

void Index::remove(Turn& turn, const Value& value) {
    auto found = assertions_.find(value);
    if (found == assertions_.end() || --found->second.count > 0) return;
    Entry& entry = found->second;
    if (entry.observer) unobserve(turn, entry);
    Class& where = class_of(value);
    erase(turn, where, value);
    erase(turn, any_, value);
    if (entry.next) entry.next->previous = entry.previous;
    if (entry.previous)
        entry.previous->next = entry.next;
    else
        where.first = entry.next;
    assertions_.erase(found);
    forget_if_empty(where);
}

void Index::forget_if_empty(Class& where) {
    if (!where.first && where.shapes.empty() && where.label.valid())
        records_.erase(Value(where.label));
}

void Index::send(Turn& turn, const Value& message) {
    // A message makes no class: nobody observes a label that is unknown here.
    if (message.kind() != Kind::record)
        send(turn, class_of(message), message);
    else if (auto found = records_.find(message.view().label()); found != records_.end())
        send(turn, found->second, message);
    send(turn, any_, message);
}

void Index::insert(Turn& turn, Class& where, View value) {
    for (auto& [name, shape] : where.shapes) {
        if (!key_of(shape, value)) continue;
        capture_.clear();
        if (!collect(value, shape.pattern.captures, capture_)) continue;
        View key(key_, value.may_embed());
        auto leaf = shape.leaves.find(key);
        if (leaf == shape.leaves.end()) leaf = shape.leaves.emplace(Value(key), Leaf()).first;
        auto [capture, fresh] =
            leaf->second.captures.try_emplace(Value(View(capture_, value.may_embed())), 0);
        if (capture->second++ > 0) continue;
        for (Observer* observer : leaf->second.observers)
            observer->sent[capture->first] = turn.assert_(observer->target, capture->first);
    }
}

void Index::erase(Turn& turn, Class& where, View value) {
    for (auto& [name, shape] : where.shapes) {
        if (!key_of(shape, value)) continue;
        capture_.clear();
        if (!collect(value, shape.pattern.captures, capture_)) continue;
        auto leaf = shape.leaves.find(View(key_, value.may_embed()));
        if (leaf == shape.leaves.end()) continue;
        auto capture = leaf->second.captures.find(View(capture_, value.may_embed()));
        if (capture == leaf->second.captures.end() || --capture->second > 0) continue;
        for (Observer* observer : leaf->second.observers) {
            auto sent = observer->sent.find(capture->first);
            if (sent == observer->sent.end()) continue;
            turn.retract(sent->second);
            observer->sent.erase(sent);
        }
        leaf->second.captures.erase(capture);
        if (leaf->second.captures.empty() && leaf->second.observers.empty())
            shape.leaves.erase(leaf);
    }
}

void Index::send(Turn& turn, Class& where, View message) {
    for (auto& [name, shape] : where.shapes) {
        if (!key_of(shape, message)) continue;
        auto leaf = shape.leaves.find(View(key_, message.may_embed()));
        if (leaf == shape.leaves.end() || leaf->second.observers.empty()) continue;
        capture_.clear();
        if (!collect(message, shape.pattern.captures, capture_)) continue;
        Value body(View(capture_, message.may_embed()));
        for (Observer* observer : leaf->second.observers)
            turn.message(observer->target, body);
    }
}

// A pattern that does not parse makes the assertion plain data.
void Index::observe(Turn& turn, Entry& entry) {
    View assertion = *entry.value;
    CapRef target = cap_of(assertion.at(1));
    if (!target) return;
    Result<Pattern> pattern = Pattern::parse(assertion.at(0));
    if (!pattern) return;
    Value name = pattern->shape();
    if (!name.valid()) return; // nested too deeply to be named

    entry.observer = std::make_unique<Observer>();
    entry.observer->target = target;
    Class& where = class_of(*pattern);
    entry.observed_class = &where;
    entry.observed_shape = std::move(name);
    entry.observed_constants = preserves::sequence(pattern->constants);

    auto shape = where.shapes.find(entry.observed_shape);
    if (shape == where.shapes.end()) {
        shape = where.shapes.emplace(entry.observed_shape, Shape{*std::move(pattern), {}, 0}).first;
        if (&where == &any_) {
            for (const Class* each : {&sequences_, &dictionaries_, &atoms_, &sets_})
                populate(shape->second, *each);
            for (const auto& [label, each] : records_)
                populate(shape->second, each);
        } else {
            populate(shape->second, where);
        }
    }
    ++shape->second.observers;
    Leaf& leaf = shape->second.leaves[entry.observed_constants];
    entry.observer->index = leaf.observers.size();
    leaf.observers.push_back(entry.observer.get());
    for (const auto& [capture, count] : leaf.captures)
        entry.observer->sent[capture] = turn.assert_(target, capture);
}

void Index::unobserve(Turn& turn, Entry& entry) {
    for (const auto& [capture, handle] : entry.observer->sent)
        turn.retract(handle);
    auto shape = entry.observed_class->shapes.find(entry.observed_shape);
    auto leaf = shape->second.leaves.find(entry.observed_constants);
    std::vector<Observer*>& observers = leaf->second.observers;
    observers.back()->index = entry.observer->index;
    observers[entry.observer->index] = observers.back();
    observers.pop_back();
    if (observers.empty() && leaf->second.captures.empty()) shape->second.leaves.erase(leaf);
    if (--shape->second.observers == 0) entry.observed_class->shapes.erase(shape);
    forget_if_empty(*entry.observed_class);
    entry.observer.reset();
}

void Index::populate(Shape& shape, const Class& where) {
    for (const Entry* entry = where.first; entry; entry = entry->next) {
        View value = *entry->value;
        if (!key_of(shape, value)) continue;
        capture_.clear();
        if (!collect(value, shape.pattern.captures, capture_)) continue;
        Leaf& leaf = shape.leaves[Value(View(key_, value.may_embed()))];
        ++leaf.captures[Value(View(capture_, value.may_embed()))];
    }
}

} // namespace muster::dataspace
