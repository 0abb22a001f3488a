#include "services/presence/mount_facts.h"

#include <map>
#include <set>

#include "init/dataspace/engine.h"
#include "init/preserves/utf8.h"

namespace muster::services {

using dataspace::Handle;
using dataspace::Turn;
using preserves::Value;

namespace {

class MountFacts final : public Counted {
  public:
    MountFacts(PresenceContext context, Ref<MountTable> table)
        : context_(std::move(context)), table_(std::move(table)) {}

    void serve(Turn& turn, Interests& interests) {
        facet_ = Ref<dataspace::Facet>(&turn.current());
        Ref<MountFacts> self(this);
        turn.actor().on_forget([self] { self->unsubscribe(); });
        auto change = [self](bool begin) {
            return [self, begin](Turn& t, const Value& path) { self->change(t, path, begin); };
        };
        interests.add("mount", {change(true), change(false)});
    }

  private:
    struct Fact {
        Mount mount;
        Handle handle = 0;
    };

    void change(Turn& turn, const Value& path, bool begin) {
        if (!path.valid()) {
            all_ = begin;
        } else if (auto text = path.view().as_string()) {
            if (begin)
                wanted_.insert(std::string(*text));
            else
                wanted_.erase(std::string(*text));
        }
        if (all_ || !wanted_.empty())
            subscribe(turn);
        else
            unsubscribe();
        update(turn);
    }

    void subscribe(Turn& turn) {
        if (subscription_ != 0) return;
        auto subscribed =
            table_->subscribe([self = Ref<MountFacts>(this), &engine = turn.engine()] {
                engine.external(self->facet_, [self](Turn& t) { self->update(t); });
            });
        if (subscribed)
            subscription_ = *subscribed;
        else
            context_.report(turn, "mounts are not watched: " + subscribed.error().message);
    }

    void unsubscribe() {
        if (subscription_ != 0) table_->unsubscribe(std::exchange(subscription_, 0));
    }

    void update(Turn& turn) {
        Mounts mounts;
        if (subscription_ != 0) {
            Result<Mounts> read = table_->read();
            if (!read) return context_.report(turn, read.error().message);
            mounts = *std::move(read);
        }
        for (auto fact = facts_.begin(); fact != facts_.end();) {
            auto now = mounts.find(fact->first);
            if (now != mounts.end() && is_wanted(fact->first)) {
                ++fact;
                continue;
            }
            turn.retract(fact->second.handle);
            fact = facts_.erase(fact);
        }
        for (auto& [path, mount] : mounts) {
            if (!is_wanted(path)) continue;
            Fact& fact = facts_[path];
            if (fact.handle != 0 && fact.mount == mount) continue;
            Value record = describe(path, mount);
            if (!record.valid()) continue;
            fact.handle = turn.replace(context_.machine, fact.handle, record);
            fact.mount = std::move(mount);
        }
    }

    bool is_wanted(const std::string& path) const { return all_ || wanted_.count(path) != 0; }

    static Value describe(const std::string& path, const Mount& mount) {
        for (const std::string* each : {&path, &mount.source, &mount.type, &mount.root})
            if (!preserves::is_utf8(*each)) return {};
        Value source = preserves::string(mount.source);
        Value type = preserves::string(mount.type);
        Value root = preserves::string(mount.root);
        Value read_only = preserves::boolean(mount.read_only);
        Value details = preserves::dictionary(
            {{"source", source}, {"type", type}, {"root", root}, {"read-only", read_only}});
        return preserves::record("mount", {preserves::string(path), details});
    }

    PresenceContext context_;
    Ref<MountTable> table_;
    Ref<dataspace::Facet> facet_;
    bool all_ = false;
    std::set<std::string> wanted_;
    size_t subscription_ = 0;
    std::map<std::string, Fact> facts_;
};

} // namespace

void serve_mount_facts(Turn& turn, Interests& interests, const PresenceContext& context,
                       Ref<MountTable> mounts) {
    make_ref<MountFacts>(context, std::move(mounts))->serve(turn, interests);
}

} // namespace muster::services
