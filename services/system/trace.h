// Writes what an engine does to a file (trace.prs): `<trace SECONDS ACTOR ITEM>`, as text, one
// record on a line.
//
//   ITEM = <start NAME> | <stop ok> | <stop <error "…" #f>>
//        | <turn ID CAUSE [<dequeue EVENT> … <enqueue EVENT> …]>
//   CAUSE = <caused-by ID> | <external engine>
//   EVENT = <event <entity ACTOR FACET OID> DETAIL>, DETAIL an assert, retract, message or sync
//
// Actors and turns are numbered; facets and entities have numbers that are theirs as long as they
// live. A capability in a value is shown as the number of its entity.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <unordered_map>

#include "init/dataspace/actor.h"
#include "init/dataspace/tracer.h"

namespace muster::services {

class TraceFile final : public dataspace::Tracer {
  public:
    // ERRORS: the file cannot be written.
    static Result<std::unique_ptr<TraceFile>> open(const std::string& path);
    ~TraceFile() override;

    void actor_starts(const dataspace::Actor& actor) override;
    void actor_ends(const dataspace::Actor& actor, const Error* error) override;
    void turn_begins(const dataspace::Actor& actor,
                     const std::vector<dataspace::Event>& events) override;
    void turn_sends(const std::vector<dataspace::Event>& events) override;
    void turn_ends() override;

  private:
    explicit TraceFile(std::FILE* file) : file_(file) {}
    void write(uint64_t actor, const std::string& item);
    void add(const char* action, const dataspace::Event& event);
    std::string target_text(const dataspace::Cap& target);
    uint64_t number_of(const dataspace::Actor& actor);

    std::FILE* file_;
    std::unordered_map<const dataspace::Actor*, uint64_t> actors_;
    uint64_t next_actor_ = 1;
    uint64_t turn_ = 0;
    bool open_ = false; // a turn has begun
    uint64_t actor_ = 0;
    uint64_t cause_ = 0;
    std::string actions_;
    // Which turn sent what is still on its way, by the address of its events.
    std::unordered_map<const dataspace::Event*, uint64_t> causes_;
};

} // namespace muster::services
