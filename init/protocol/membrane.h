// The membrane of a connection: which capabilities have crossed it, and under which oids
// (reference 2.2, 2.3).
//
// Two tables: what we export to the peer and what we import from it. Each entry counts its *pins*:
// occurrences in assertions that are live on the wire, in either direction, and the targets of such
// assertions. An entry goes when its last pin goes. The initial entries have a pin for ever.
#pragma once

#include <cstdint>
#include <functional>
#include <unordered_map>
#include <vector>

#include "init/dataspace/actor.h"
#include "init/preserves/packed.h"

namespace muster::protocol {

using preserves::Value;

struct Pin {
    enum class Side : uint8_t { exported, imported, narrowed };
    Side side;
    uint64_t oid; // of a narrowed one: the number of its entry
};
using Pins = std::vector<Pin>;

class Membrane final : public preserves::EmbeddedCodec {
  public:
    using Oid = uint64_t;

    // Makes the capability for an oid that the peer exports: a proxy. `limit`: how many live
    // entries there may be for references that come from the peer. Those that go there are due to
    // others.
    explicit Membrane(std::function<dataspace::CapRef(Oid)> make_proxy, size_t limit)
        : make_proxy_(std::move(make_proxy)), limit_(limit) {}

    // Exports `cap`, or finds it exported, with one more pin.
    Oid export_cap(const dataspace::CapRef& cap);
    // Exports `cap` as oid 0, for ever. REQUIRES: nothing is exported yet.
    void export_initial(const dataspace::CapRef& cap) { export_cap(cap); }
    // Imports the peer's oid 0, for ever.
    dataspace::CapRef import_initial() { return import_oid(0); }

    // What is exported under `oid`, or null.
    dataspace::CapRef exported(Oid oid);
    bool is_exported(Oid oid) const { return exported_.count(oid) != 0; }

    // False if there is no such entry (any more): then there is nothing to unpin later.
    bool pin(Pin pin);
    void unpin(Pin pin);
    void unpin(const Pins& pins);
    // The entry has no pin besides those of `pins`, which must hold it: a message may not carry it.
    bool is_transient(const Pins& pins) const;

    // Between `collect_into` and the next one, decode and encode add a pin for each occurrence.
    void collect_into(Pins* pins) { pins_ = pins; }

    Result<Ref<preserves::Embedded>> decode(preserves::View wire) override;
    void encode(preserves::Embedded& object, preserves::Encoder& out) override;

    // All pins there are; beside the initial ones each is due to something alive.
    uint64_t pins() const;

    size_t size() const { return exported_.size() + imported_.size() + narrowed_.size(); }
    // Nothing but oid 0 is exported.
    bool is_initial() const { return exported_.size() <= 1; }
    void clear();

  private:
    struct Entry {
        dataspace::CapRef cap;
        uint64_t pins = 0;
    };

    struct Narrowed {
        Oid oid; // of what it narrows
        Value wire;
        Entry entry;
    };

    dataspace::CapRef import_oid(Oid oid);
    Result<dataspace::CapRef> narrow(Oid oid, preserves::View wire);
    void unpin_narrowed(uint64_t number);
    void note(Pin::Side side, Oid oid);

    std::function<dataspace::CapRef(Oid)> make_proxy_;
    size_t limit_;
    std::unordered_map<Oid, Entry> exported_;
    std::unordered_map<Oid, Entry> imported_;
    std::unordered_map<uint64_t, Narrowed> narrowed_;
    std::unordered_map<const preserves::Embedded*, Oid> exported_oids_;
    std::unordered_map<const preserves::Embedded*, Oid> imported_oids_;
    // By what stands on the wire.
    std::unordered_map<Value, uint64_t, preserves::ValueHash, preserves::ValueEqual>
        narrowed_numbers_;
    uint64_t next_narrowed_ = 0;
    // The entry of exported_ that was asked for last: mostly the next one is the same.
    Entry* latest_ = nullptr;
    Oid latest_oid_ = 0;
    Oid next_oid_ = 0;
    Pins* pins_ = nullptr;
};

} // namespace muster::protocol
