#include "init/protocol/client.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "init/preserves/encoder.h"
#include "init/preserves/text_writer.h"

namespace muster::protocol {

using preserves::Value;
using preserves::View;
namespace tag = preserves::tag;

using Side = Reference::Side;

Ref<Reference> Client::export_entity(Handler handler) {
    Oid oid = next_oid_++;
    entities_[oid] = std::move(handler);
    return make_ref<Reference>(Side::ours, oid);
}

Ref<Reference> Client::root() {
    Ref<Reference>& known = remotes_[0];
    if (!known) known = make_ref<Reference>(Side::theirs, uint64_t{0});
    return known;
}

void Client::begin() { ++depth_; }

void Client::commit() {
    if (--depth_ > 0 || !packet_open_) return;
    if (text_)
        put_text("]\n");
    else
        outgoing_.push_back(tag::end);
    packet_open_ = false;
}

void Client::put_text(std::string_view text) {
    outgoing_.insert(outgoing_.end(), text.begin(), text.end());
}

void Client::put(View value) {
    if (!text_) return preserves::encode_packed(value, this, outgoing_);
    std::string written = " ";
    preserves::write_text(value, written, this);
    put_text(written);
}

// Events are `[oid <LABEL …>]` within the sequence that is the packet.
void Client::open_event(Oid oid, char label) {
    begin();
    if (text_) {
        put_text(std::exchange(packet_open_, true) ? ", [" : "[[");
        put(preserves::integer(static_cast<int64_t>(oid)));
        const char begin[] = {',', ' ', '<', label};
        return put_text({begin, sizeof begin});
    }
    if (!std::exchange(packet_open_, true)) outgoing_.push_back(tag::sequence);
    outgoing_.push_back(tag::sequence);
    put(preserves::integer(static_cast<int64_t>(oid)));
    outgoing_.push_back(tag::record);
    put(preserves::symbol({&label, 1}));
}

void Client::close_event() {
    if (text_) {
        put_text(">]");
    } else {
        outgoing_.push_back(tag::end);
        outgoing_.push_back(tag::end);
    }
    commit();
}

Client::Handle Client::assert_(const Ref<Reference>& target, View value) {
    Handle handle = next_handle_++;
    targets_[handle] = target->oid;
    open_event(target->oid, 'A');
    put(value);
    put(preserves::integer(static_cast<int64_t>(handle)));
    close_event();
    return handle;
}

void Client::retract(Handle handle) {
    auto found = targets_.find(handle);
    if (found == targets_.end()) return;
    open_event(found->second, 'R');
    put(preserves::integer(static_cast<int64_t>(handle)));
    close_event();
    targets_.erase(found);
}

void Client::message(const Ref<Reference>& target, View body) {
    open_event(target->oid, 'M');
    put(body);
    close_event();
}

void Client::sync(const Ref<Reference>& target, std::function<void()> done) {
    Oid oid = next_oid_;
    Ref<Reference> peer = export_entity({});
    entities_[oid].message = [this, oid, done = std::move(done)](const Value&) {
        std::function<void()> call = done; // the handler goes with its entity
        entities_.erase(oid);
        call();
    };
    open_event(target->oid, 'S');
    put(preserves::embedded(peer));
    close_event();
}

Client::Handle Client::observe(const Ref<Reference>& dataspace, View pattern, Handler handler) {
    Value observer = preserves::embedded(export_entity(std::move(handler)));
    return assert_(dataspace, preserves::record("Observe", {pattern, observer}));
}

namespace {

// The signal SIGPIPE of a socket would end a program before it could say what has happened.
ssize_t write_some(int fd, const uint8_t* data, size_t size) {
    ssize_t count = send(fd, data, size, MSG_NOSIGNAL);
    return count >= 0 || errno != ENOTSOCK ? count : write(fd, data, size);
}

} // namespace

Result<bool> Client::flush() {
    while (unsent()) {
        ssize_t count = write_some(output_fd(), outgoing_.data() + sent_, outgoing_.size() - sent_);
        if (count < 0) {
            if (errno == EINTR) continue;
            if (errno == EAGAIN) return false;
            if (errno == EPIPE || errno == ECONNRESET) return Error{closed};
            return system_error("write", errno);
        }
        sent_ += static_cast<size_t>(count);
    }
    outgoing_.clear();
    sent_ = 0;
    return true;
}

Result<bool> Client::receive() {
    uint8_t buffer[16'384];
    ssize_t count = read(input_.get(), buffer, sizeof buffer);
    if (count < 0) {
        if (errno == EAGAIN || errno == EINTR) return true;
        if (errno == ECONNRESET) return false; // it has not read all that we sent
        return system_error("read", errno);
    }
    if (count == 0) return false;
    incoming_.insert(incoming_.end(), buffer, buffer + count);
    if (text_) {
        Result<> received = receive_lines();
        if (!received) return received.error();
        return true;
    }
    size_t done = 0;
    for (;;) {
        PacketReader::State state = reader_.next(preserves::Bytes(incoming_).subspan(done));
        if (state == PacketReader::State::malformed)
            return Error{"the peer sends what is not Preserves: " + reader_.problem()};
        done += reader_.consumed();
        if (state == PacketReader::State::need_more) break;
        Result<> handled = handle_packet(reader_.view());
        if (!handled) return handled.error();
    }
    incoming_.erase(incoming_.begin(), incoming_.begin() + static_cast<ptrdiff_t>(done));
    return true;
}

void Client::set_resumable(std::function<void()> resumed,
                           std::function<void(std::string_view)> ignored) {
    text_ = true;
    lasting_ = next_oid_;
    resumed_ = std::move(resumed);
    ignored_ = std::move(ignored);
}

Result<> Client::receive_lines() {
    size_t done = 0;
    for (;;) {
        auto rest = preserves::Bytes(incoming_).subspan(done);
        auto end = std::find(rest.begin(), rest.end(), '\n');
        if (end == rest.end()) break;
        auto line = rest.first(static_cast<size_t>(end - rest.begin()) + 1);
        done += line.size();
        if (line.size() == 1) continue;
        PacketReader::State state = reader_.next(line);
        if (state != PacketReader::State::packet || reader_.consumed() + 1 < line.size()) {
            reader_ = PacketReader();
            ignored_({reinterpret_cast<const char*>(line.data()), line.size() - 1});
            continue;
        }
        if (reader_.view().is_record("resume", 1)) {
            resume(reader_.view().at(0));
            continue;
        }
        Result<> handled = handle_packet(reader_.view());
        if (!handled) return handled;
    }
    incoming_.erase(incoming_.begin(), incoming_.begin() + static_cast<ptrdiff_t>(done));
    return {};
}

void Client::resume(View epoch) {
    outgoing_.clear();
    sent_ = 0;
    packet_open_ = false;
    depth_ = 0;
    // The newline ends what the old peer got a part of.
    put_text("\n<resumed");
    put(epoch);
    put_text(">\n");
    std::erase_if(entities_, [this](const auto& each) { return each.first >= lasting_; });
    remotes_.clear();
    targets_.clear();
    resumed_();
}

Result<> Client::handle_packet(View packet) {
    if (packet.is_record("error", 2))
        return Error{
            "the peer reports: " + std::string(packet.at(0).as_string().value_or("an error")) +
            (packet.at(1).as_bool() ? "" : " " + preserves::to_text(packet.at(1)))};
    if (packet.is(preserves::Kind::sequence)) {
        for (View event : packet.items()) {
            Result<> handled = handle_event(event);
            if (!handled) return handled;
        }
        return {};
    }
    return {};
}

Result<> Client::handle_event(View event) {
    auto oid = event.at(0).as_int();
    View action = event.at(1);
    if (!oid || !action.is(preserves::Kind::record)) return Error{"the peer sent no event"};
    auto found = entities_.find(static_cast<Oid>(*oid));
    Handler handler = found == entities_.end() ? Handler{} : found->second;
    if (action.is_record("R", 1)) {
        auto handle = action.at(0).as_int();
        if (handle && handler.retracted) handler.retracted(static_cast<Handle>(*handle));
        return {};
    }
    if (!action.at(0).valid()) return {};
    Result<Value> value = preserves::decode_packed(action.at(0).bytes(), this);
    if (!value) return value.error();
    if (action.is_record("A", 2)) {
        auto handle = action.at(1).as_int();
        if (handle && handler.asserted) handler.asserted(*value, static_cast<Handle>(*handle));
    } else if (action.is_record("M", 1)) {
        if (handler.message) handler.message(*value);
    } else if (action.is_record("S", 1)) {
        auto* peer = value->view().as_embedded();
        if (!peer) return Error{"the peer sent a sync without a reference"};
        message(Ref<Reference>(static_cast<Reference*>(peer)), preserves::boolean(true));
    }
    return {};
}

Result<Ref<preserves::Embedded>> Client::decode(View wire) {
    auto side = wire.at(0).as_int();
    auto oid = wire.at(1).as_int();
    if (!side || !oid) return Error{"the peer sent a reference that is none"};
    if (*side == 1) {
        // One of ours comes back. Nothing here calls its own entities through such a reference.
        return Ref<preserves::Embedded>(make_ref<Reference>(Side::ours, static_cast<Oid>(*oid)));
    }
    Ref<Reference>& known = remotes_[static_cast<Oid>(*oid)];
    if (!known) known = make_ref<Reference>(Side::theirs, static_cast<Oid>(*oid));
    return Ref<preserves::Embedded>(known);
}

void Client::encode(preserves::Embedded& object, preserves::Encoder& out) {
    const auto& reference = static_cast<const Reference&>(object);
    out.begin_sequence();
    out.integer(reference.side == Side::theirs ? 1 : 0);
    out.integer(static_cast<int64_t>(reference.oid));
    out.end();
}

} // namespace muster::protocol
