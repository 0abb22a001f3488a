#include "init/protocol/membrane.h"

#include "init/preserves/encoder.h"
#include "init/protocol/relay.h"

namespace muster::protocol {

using dataspace::Cap;
using dataspace::CapRef;
using dataspace::Caveats;
using preserves::Value;
using preserves::View;

Membrane::Oid Membrane::export_cap(const CapRef& cap) {
    auto known = exported_oids_.find(cap.get());
    Oid oid = known != exported_oids_.end() ? known->second : next_oid_++;
    Entry& entry = exported_[oid];
    if (!entry.cap) {
        entry.cap = cap;
        exported_oids_[cap.get()] = oid;
    }
    ++entry.pins;
    return oid;
}

CapRef Membrane::import_oid(Oid oid) {
    Entry& entry = imported_[oid];
    if (!entry.cap) {
        entry.cap = make_proxy_(oid);
        imported_oids_[entry.cap.get()] = oid;
    }
    ++entry.pins;
    return entry.cap;
}

CapRef Membrane::exported(Oid oid) {
    if (latest_ && latest_oid_ == oid) return latest_->cap;
    auto found = exported_.find(oid);
    if (found == exported_.end()) return {};
    latest_ = &found->second;
    latest_oid_ = oid;
    return found->second.cap;
}

// REQUIRES: not of a narrowed one: those are pinned by decoding.
bool Membrane::pin(Pin pin) {
    if (pin.side == Pin::Side::exported && latest_ && latest_oid_ == pin.oid) {
        ++latest_->pins;
        return true;
    }
    auto& table = pin.side == Pin::Side::exported ? exported_ : imported_;
    auto found = table.find(pin.oid);
    if (found == table.end()) return false;
    ++found->second.pins;
    return true;
}

void Membrane::unpin(Pin pin) {
    if (pin.side == Pin::Side::narrowed) {
        unpin_narrowed(pin.oid);
        return;
    }
    bool exported = pin.side == Pin::Side::exported;
    if (exported && latest_ && latest_oid_ == pin.oid) {
        if (latest_->pins > 1) {
            --latest_->pins;
            return;
        }
        latest_ = nullptr;
    }
    auto& table = exported ? exported_ : imported_;
    auto found = table.find(pin.oid);
    if (found == table.end() || --found->second.pins > 0) return;
    CapRef last = std::move(found->second.cap); // destroyed when the tables are in order again
    (exported ? exported_oids_ : imported_oids_).erase(last.get());
    table.erase(found);
}

void Membrane::unpin_narrowed(uint64_t number) {
    auto found = narrowed_.find(number);
    if (found == narrowed_.end() || --found->second.entry.pins > 0) return;
    Narrowed last = std::move(found->second);
    narrowed_numbers_.erase(last.wire);
    narrowed_.erase(found);
    unpin({Pin::Side::exported, last.oid});
}

void Membrane::unpin(const Pins& pins) {
    for (Pin pin : pins)
        unpin(pin);
}

bool Membrane::is_transient(const Pins& pins) const {
    std::unordered_map<Oid, uint64_t> own[3];
    auto of = [&](Pin::Side side) -> auto& { return own[static_cast<size_t>(side)]; };
    for (Pin pin : pins)
        ++of(pin.side)[pin.oid];
    // A narrowed one may be new if what it narrows is not.
    for (const auto& [number, count] : of(Pin::Side::narrowed)) {
        auto found = narrowed_.find(number);
        if (found != narrowed_.end() && found->second.entry.pins <= count)
            ++of(Pin::Side::exported)[found->second.oid];
    }
    for (Pin::Side side : {Pin::Side::exported, Pin::Side::imported}) {
        const auto& table = side == Pin::Side::exported ? exported_ : imported_;
        for (const auto& [oid, count] : of(side)) {
            auto found = table.find(oid);
            if (found != table.end() && found->second.pins <= count) return true;
        }
    }
    return false;
}

void Membrane::note(Pin::Side side, Oid oid) {
    if (pins_) pins_->push_back({side, oid});
}

Result<Ref<preserves::Embedded>> Membrane::decode(View wire) {
    if (!wire.is(preserves::Kind::sequence))
        return Error{"a reference must be [0 oid] or [1 oid …]"};
    auto side = wire.at(0).as_int();
    auto oid = wire.at(1).as_int();
    if (!side || !oid || *oid < 0 || (*side != 0 && *side != 1))
        return Error{"a reference must be [0 oid] or [1 oid …]"};
    if (imported_.size() + narrowed_.size() >= limit_) return Error{"too many live oids"};
    Oid number = static_cast<Oid>(*oid);
    if (*side == 0) {
        CapRef cap = import_oid(number);
        note(Pin::Side::imported, number);
        if (!pins_) unpin({Pin::Side::imported, number});
        return Ref<preserves::Embedded>(cap);
    }
    auto found = exported_.find(number);
    if (found == exported_.end()) {
        // Nobody hears what is sent there.
        return Ref<preserves::Embedded>(make_proxy_(UINT64_MAX));
    }
    if (wire.at(2).valid()) {
        Result<CapRef> narrowed = narrow(number, wire);
        if (!narrowed) return narrowed.error();
        return Ref<preserves::Embedded>(*narrowed);
    }
    if (pins_) {
        ++found->second.pins;
        note(Pin::Side::exported, number);
    }
    return Ref<preserves::Embedded>(found->second.cap);
}

// REQUIRES: `oid` is exported.
Result<CapRef> Membrane::narrow(Oid oid, View wire) {
    Value key(wire);
    if (auto known = narrowed_numbers_.find(key); known != narrowed_numbers_.end()) {
        Entry& entry = narrowed_[known->second].entry;
        if (pins_) {
            ++entry.pins;
            note(Pin::Side::narrowed, known->second);
        }
        return entry.cap;
    }
    preserves::Encoder list;
    list.begin_sequence();
    size_t index = 0;
    for (View item : wire.items())
        if (index++ >= 2) list.value(item);
    list.end();
    Result<Value> caveats = list.finish();
    if (!caveats) return caveats.error();
    Entry& base = exported_[oid];
    Result<Ref<Caveats>> joined = Caveats::join(base.cap->caveats(), *caveats);
    if (!joined) return joined.error();
    CapRef cap = base.cap->attenuate(*joined);
    if (!pins_) return cap;
    ++base.pins;
    uint64_t number = next_narrowed_++;
    narrowed_numbers_[key] = number;
    narrowed_[number] = {oid, std::move(key), {cap, 1}};
    note(Pin::Side::narrowed, number);
    return cap;
}

void Membrane::encode(preserves::Embedded& object, preserves::Encoder& out) {
    Cap& cap = static_cast<Cap&>(object);
    out.begin_sequence();
    auto imported = imported_oids_.find(&cap);
    if (imported != imported_oids_.end() && !exported_oids_.count(&cap)) {
        out.integer(1);
        out.integer(static_cast<int64_t>(imported->second));
        if (pins_) {
            ++imported_[imported->second].pins;
            note(Pin::Side::imported, imported->second);
        }
    } else {
        Oid oid = export_cap(CapRef(&cap));
        out.integer(0);
        out.integer(static_cast<int64_t>(oid));
        note(Pin::Side::exported, oid);
    }
    out.end();
}

uint64_t Membrane::pins() const {
    uint64_t sum = 0;
    for (const auto* table : {&exported_, &imported_})
        for (const auto& [oid, entry] : *table)
            sum += entry.pins;
    for (const auto& [number, narrowed] : narrowed_)
        sum += narrowed.entry.pins;
    return sum;
}

void Membrane::clear() {
    latest_ = nullptr;
    auto exported = std::move(exported_);
    auto imported = std::move(imported_);
    auto narrowed = std::move(narrowed_);
    exported_.clear();
    imported_.clear();
    narrowed_.clear();
    narrowed_numbers_.clear();
    exported_oids_.clear();
    imported_oids_.clear();
}

} // namespace muster::protocol
