#include "services/system/trace.h"

#include <sys/time.h>

#include <cerrno>

#include "init/preserves/encoder.h"
#include "init/preserves/text_writer.h"

namespace muster::services {

using dataspace::Actor;
using dataspace::Cap;
using dataspace::Event;
using preserves::View;

namespace {

uint64_t number_at(const void* object) { return reinterpret_cast<uintptr_t>(object); }

// Of the entity behind a capability; 0 if that is gone.
uint64_t entity_of(const Cap& cap) { return cap.facet().alive() ? number_at(&cap.entity()) : 0; }

class EntityText final : public preserves::EmbeddedCodec {
  public:
    Result<Ref<preserves::Embedded>> decode(View) override { return Error{"not for reading"}; }
    void encode(preserves::Embedded& object, preserves::Encoder& out) override {
        out.integer(static_cast<int64_t>(entity_of(static_cast<Cap&>(object))));
    }
};

std::string text_of(View value) {
    EntityText entities;
    return preserves::to_text(value, &entities);
}

} // namespace

Result<std::unique_ptr<TraceFile>> TraceFile::open(const std::string& path) {
    std::FILE* file = std::fopen(path.c_str(), "we");
    if (!file) return system_error("open " + path, errno);
    return std::unique_ptr<TraceFile>(new TraceFile(file));
}

TraceFile::~TraceFile() { std::fclose(file_); }

uint64_t TraceFile::number_of(const Actor& actor) {
    uint64_t& number = actors_[&actor];
    if (number == 0) number = next_actor_++;
    return number;
}

void TraceFile::write(uint64_t actor, const std::string& item) {
    timeval now;
    gettimeofday(&now, nullptr);
    std::fprintf(file_, "<trace %lld.%06ld %llu %s>\n", static_cast<long long>(now.tv_sec),
                 static_cast<long>(now.tv_usec), static_cast<unsigned long long>(actor),
                 item.c_str());
    std::fflush(file_);
}

void TraceFile::actor_starts(const Actor& actor) {
    actors_.erase(&actor); // one that was there before
    write(number_of(actor), "<start <named " + text_of(preserves::string(actor.name())) + ">>");
}

void TraceFile::actor_ends(const Actor& actor, const Error* error) {
    std::string status = "ok";
    if (error) status = "<error " + text_of(preserves::string(error->message)) + " #f>";
    write(number_of(actor), "<stop " + status + ">");
    actors_.erase(&actor);
}

void TraceFile::turn_begins(const Actor& actor, const std::vector<Event>& events) {
    open_ = true;
    ++turn_;
    actor_ = number_of(actor);
    cause_ = 0;
    actions_.clear();
    if (auto cause = causes_.find(events.data()); cause != causes_.end()) {
        cause_ = cause->second;
        causes_.erase(cause);
    }
    for (const Event& event : events)
        add("dequeue", event);
}

void TraceFile::turn_sends(const std::vector<Event>& events) {
    if (!events.empty()) causes_[events.data()] = turn_;
    for (const Event& event : events)
        add("enqueue", event);
}

void TraceFile::turn_ends() {
    if (!std::exchange(open_, false)) return;
    std::string cause = cause_ ? "<caused-by " + std::to_string(cause_) + ">" : "<external engine>";
    write(actor_, "<turn " + std::to_string(turn_) + " " + cause + " [" + actions_ + "]>");
}

std::string TraceFile::target_text(const Cap& target) {
    return "<entity " + std::to_string(number_of(target.actor())) + " " +
           std::to_string(number_at(&target.facet())) + " " + std::to_string(entity_of(target)) +
           ">";
}

void TraceFile::add(const char* action, const Event& event) {
    std::string detail;
    std::string handle = std::to_string(event.handle);
    switch (event.kind) {
    case Event::Kind::assert_:
        detail = "<assert <value " + text_of(event.value) + "> " + handle + ">";
        break;
    case Event::Kind::retract:
        detail = "<retract " + handle + ">";
        break;
    case Event::Kind::message:
        detail = "<message <value " + text_of(event.value) + ">>";
        break;
    case Event::Kind::sync:
        detail = "<sync " + target_text(*dataspace::cap_of(event.value)) + ">";
        break;
    }
    if (!actions_.empty()) actions_ += ", ";
    actions_ +=
        "<" + std::string(action) + " <event " + target_text(*event.target) + " " + detail + ">>";
}

} // namespace muster::services
