#include "init/dataspace/dataspace.h"

#include <memory>
#include <unordered_map>
#include <utility>

#include "init/dataspace/engine.h"
#include "init/dataspace/index.h"

namespace muster::dataspace {

namespace {

// What is in a dataspace. Capabilities in it may lead back to the dataspace itself, so the actor
// empties it when it ends.
struct Contents final : Counted {
    std::unique_ptr<Index> index = std::make_unique<Index>();
};

class DataspaceEntity final : public Entity {
  public:
    // `owns_actor`: the actor is there for this dataspace alone.
    DataspaceEntity(Ref<Facet> facet, Ref<Contents> contents, bool owns_actor)
        : facet_(std::move(facet)), keep_(facet_), contents_(std::move(contents)),
          owns_actor_(owns_actor) {}

    // Nobody can reach this dataspace any more: its actor has nothing left to do.
    ~DataspaceEntity() override {
        keep_ = KeepAlive();
        if (owns_actor_ && facet_->alive())
            facet_->actor().engine().external(facet_, [](Turn& turn) { turn.stop_actor(); });
    }

    void on_assert(Turn& turn, const Value& value, Handle handle) override {
        turn.note(handle) = contents_->index->add(turn, value);
    }

    void on_retract(Turn& turn, Handle handle) override {
        // Null: what asserted it failed before that took effect.
        void*& note = turn.note(handle);
        if (note) contents_->index->remove(turn, static_cast<Index::Entry*>(note));
        note = nullptr;
    }

    void on_message(Turn& turn, const Value& body) override { contents_->index->send(turn, body); }

    size_t size() const { return contents_->index->size(); }

  private:
    Ref<Facet> facet_;
    KeepAlive keep_;
    Ref<Contents> contents_;
    bool owns_actor_;
};

void empty(Contents& contents) {
    auto index = std::exchange(contents.index, std::make_unique<Index>());
}

CapRef dataspace_in(const Ref<Facet>& facet, const Ref<Contents>& contents, bool owns_actor) {
    facet->actor().on_forget([contents] { empty(*contents); });
    return make_ref<Cap>(facet, make_ref<DataspaceEntity>(facet, contents, owns_actor));
}

CapRef dataspace_of(const Ref<Actor>& actor) {
    return dataspace_in(Ref<Facet>(&actor->root()), make_ref<Contents>(), true);
}

// Gives each match a facet of its own.
class During final : public Entity {
  public:
    explicit During(MatchAction body) : body_(std::move(body)) {}

    void on_assert(Turn& turn, const Value& captures, Handle handle) override {
        facets_[handle] = turn.facet([&](Turn& inner) { body_(inner, captures.view()); });
    }
    void on_retract(Turn& turn, Handle handle) override {
        auto found = facets_.find(handle);
        if (found == facets_.end()) return;
        Ref<Facet> facet = std::move(found->second);
        facets_.erase(found);
        turn.stop(*facet);
    }

  private:
    MatchAction body_;
    std::unordered_map<Handle, Ref<Facet>> facets_;
};

class Watcher final : public Entity {
  public:
    Watcher(MatchAction appeared, MatchAction gone)
        : appeared_(std::move(appeared)), gone_(std::move(gone)) {}
    ~Watcher() override {
        while (present_)
            delete std::exchange(present_, present_->next);
    }

    void on_assert(Turn& turn, const Value& captures, Handle handle) override {
        auto* match = new Match{captures, present_, nullptr};
        if (present_) present_->previous = match;
        present_ = match;
        turn.note(handle) = match;
        if (appeared_) appeared_(turn, captures.view());
    }
    void on_retract(Turn& turn, Handle handle) override {
        void*& note = turn.note(handle);
        const std::unique_ptr<Match> match(static_cast<Match*>(std::exchange(note, nullptr)));
        if (!match) return;
        if (match->next) match->next->previous = match->previous;
        (match->previous ? match->previous->next : present_) = match->next;
        if (gone_) gone_(turn, match->captures.view());
    }

  private:
    // What the note on an assertion points to.
    struct Match {
        Value captures;
        Match* next;
        Match* previous;
    };

    MatchAction appeared_;
    MatchAction gone_;
    Match* present_ = nullptr; // the newest of a list
};

class MessageHandler final : public Entity {
  public:
    explicit MessageHandler(MatchAction body) : body_(std::move(body)) {}
    void on_message(Turn& turn, const Value& captures) override { body_(turn, captures.view()); }

  private:
    MatchAction body_;
};

} // namespace

CapRef spawn_dataspace(Engine& engine, std::string name) {
    return dataspace_of(engine.spawn(std::move(name), [](Turn&) {}));
}

CapRef spawn_dataspace(Turn& turn, std::string name) {
    return dataspace_of(turn.spawn(std::move(name), [](Turn&) {}));
}

CapRef make_dataspace(Turn& turn) {
    auto contents = make_ref<Contents>();
    turn.on_stop([contents](Turn&) { empty(*contents); });
    return dataspace_in(Ref<Facet>(&turn.current()), contents, false);
}

size_t assertion_count(const Cap& dataspace) {
    if (!dataspace.facet().alive()) return 0;
    return static_cast<DataspaceEntity&>(dataspace.entity()).size();
}

Handle observe(Turn& turn, const CapRef& dataspace, View pattern, Ref<Entity> observer) {
    CapRef cap = turn.make_cap(std::move(observer));
    return turn.assert_(dataspace, preserves::record("Observe", {pattern, embed(cap)}));
}

Handle during(Turn& turn, const CapRef& dataspace, View pattern, MatchAction body) {
    return observe(turn, dataspace, pattern, make_ref<During>(std::move(body)));
}

Handle on_message(Turn& turn, const CapRef& dataspace, View pattern, MatchAction body) {
    return observe(turn, dataspace, pattern, make_ref<MessageHandler>(std::move(body)));
}

Handle observe(Turn& turn, const CapRef& dataspace, View pattern, MatchAction appeared,
               MatchAction gone) {
    return observe(turn, dataspace, pattern,
                   make_ref<Watcher>(std::move(appeared), std::move(gone)));
}

} // namespace muster::dataspace
