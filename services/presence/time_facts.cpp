#include "services/presence/time_facts.h"

#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <optional>
#include <unordered_map>

#include "init/dataspace/engine.h"
#include "init/preserves/text_writer.h"
#include "services/presence/calendar.h"
#include "services/presence/retry.h"

namespace muster::services {

using dataspace::Handle;
using dataspace::Turn;
using preserves::Value;
using preserves::View;

namespace {

constexpr double longest = 1e12; // seconds: what is later than that never comes
constexpr int64_t look_again =
    366 * 86400; // seconds, where nothing is due: for the clock being set

std::optional<double> seconds_of(View value) {
    std::optional<double> seconds = value.as_number();
    if (auto whole = value.as_int()) seconds = static_cast<double>(*whole);
    if (!seconds || !(*seconds >= 0 && *seconds <= longest)) return {};
    return seconds;
}

// What holds of one fact at a time, and from when on something else may. Seconds of its clock.
struct Answer {
    Value fact;      // invalid: it is not so now
    double next = 0; // 0: for ever
};

class Kind {
  public:
    virtual ~Kind() = default;
    virtual Answer at(const Value& first, double now) = 0;
    // ERRORS: what is wrong with the first field.
    virtual Result<> check(const Value& first) = 0;
};

Result<> check_seconds(const Value& first, double least) {
    auto seconds = seconds_of(first);
    if (seconds && *seconds >= least) return {};
    return Error{"not a number of seconds from " + std::string(least > 0 ? "1" : "0") + " on"};
}

class From final : public Kind {
  public:
    explicit From(const char* label) : label_(label) {}
    Answer at(const Value& first, double now) override {
        double when = seconds_of(first).value_or(0);
        if (now >= when) return {preserves::record(label_, {first}), 0};
        return {{}, when};
    }
    Result<> check(const Value& first) override { return check_seconds(first, 0); }

  private:
    const char* label_;
};

class Every final : public Kind {
  public:
    Answer at(const Value& first, double now) override {
        double period = seconds_of(first).value_or(1);
        double number = std::floor(now / period);
        double next = (number + 1) * period;
        if (number < 1) return {{}, next};
        Value count = preserves::integer(static_cast<int64_t>(number));
        return {preserves::record("every", {first, count}), next};
    }
    Result<> check(const Value& first) override { return check_seconds(first, 1); }
};

class ByCalendar final : public Kind {
  public:
    Answer at(const Value& first, double now) override {
        auto calendar = parse(first);
        if (!calendar) return {};
        auto when = static_cast<time_t>(now);
        Answer answer;
        answer.next = static_cast<double>(calendar->next_change(when));
        if (calendar->fits(when)) answer.fact = preserves::record("calendar", {first});
        return answer;
    }
    Result<> check(const Value& first) override {
        auto calendar = parse(first);
        if (!calendar) return calendar.error();
        return {};
    }

  private:
    static Result<Calendar> parse(const Value& first) {
        auto text = first.view().as_string();
        return text ? Calendar::parse(*text) : Result<Calendar>(Error{"not a string"});
    }
};

// The facts that go by one clock, and its timer.
class Clock final : public Counted {
  public:
    Clock(PresenceContext context, clockid_t id)
        : context_(std::move(context)), id_(id), retry_(context_) {}

    void serve(Turn& turn, Interests& interests, const std::string& label,
               std::unique_ptr<Kind> kind) {
        if (!facet_) {
            facet_ = Ref<dataspace::Facet>(&turn.current());
            turn.actor().on_forget([self = Ref<Clock>(this)] { self->close(); });
        }
        kinds_.push_back(std::move(kind));
        Ref<Clock> self(this);
        Interest interest;
        interest.begin = [self, label, kind = kinds_.back().get()](Turn& t, const Value& first) {
            if (!first.valid()) return; // any time at all is nothing to wait for
            Result<> checked = kind->check(first);
            if (!checked) {
                std::string fact = "<" + label + " " + preserves::to_text(first) + ">";
                return self->context_.report(t, fact + ": " + checked.error().message);
            }
            self->facts_[preserves::record(label, {first})] = Fact{kind, first, {}, 0, 0};
            self->update(t);
        };
        interest.end = [self, label](Turn& t, const Value& first) {
            if (!first.valid()) return;
            auto found = self->facts_.find(preserves::record(label, {first}));
            if (found == self->facts_.end()) return;
            t.retract(found->second.handle);
            self->facts_.erase(found);
            self->update(t);
        };
        interests.add(label, std::move(interest));
    }

  private:
    struct Fact {
        Kind* kind;
        Value first;
        Value said;
        Handle handle;
        double next;
    };

    void close() {
        retry_.done();
        watch_.cancel();
        timer_.reset();
    }

    double now() const {
        timespec time{};
        clock_gettime(id_, &time);
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
    }

    void update(Turn& turn) {
        double now = this->now();
        double first = 0;
        for (auto& [name, fact] : facts_) {
            Answer answer = fact.kind->at(fact.first, now);
            if (answer.next > 0 && (first == 0 || answer.next < first)) first = answer.next;
            if (answer.fact == fact.said || (!answer.fact.valid() && !fact.said.valid())) continue;
            if (answer.fact.valid())
                fact.handle = turn.replace(context_.machine, fact.handle, answer.fact);
            else
                turn.retract(std::exchange(fact.handle, 0));
            fact.said = answer.fact;
        }
        Result<> armed = arm(turn, first);
        if (armed) return retry_.done();
        retry_.later(turn, "times are not watched: " + armed.error().message, facet_,
                     [self = Ref<Clock>(this)](Turn& t) { self->update(t); });
    }

    // For `first`, or, if that is 0, so that we hear of a clock that is set.
    Result<> arm(Turn& turn, double first) {
        bool wall = id_ == CLOCK_REALTIME;
        if (facts_.empty() || (first == 0 && !wall)) {
            close();
            return {};
        }
        if (!timer_) {
            timer_ = Fd(timerfd_create(id_, TFD_CLOEXEC | TFD_NONBLOCK));
            if (!timer_) return system_error("timerfd_create", errno);
            auto watch = context_.loop.watch(timer_.get(), EPOLLIN,
                                             [self = Ref<Clock>(this), &engine = turn.engine()](
                                                 uint32_t) { self->due(engine); });
            if (!watch) {
                timer_.reset();
                return watch.error();
            }
            watch_ = *std::move(watch);
        }
        itimerspec when{};
        if (first == 0) first = now() + static_cast<double>(look_again);
        when.it_value.tv_sec = static_cast<time_t>(first);
        when.it_value.tv_nsec =
            std::clamp(static_cast<long>((first - std::floor(first)) * 1e9), 0L, 999'999'999L);
        if (when.it_value.tv_sec == 0 && when.it_value.tv_nsec == 0) when.it_value.tv_nsec = 1;
        int flags = TFD_TIMER_ABSTIME | (wall ? TFD_TIMER_CANCEL_ON_SET : 0);
        if (timerfd_settime(timer_.get(), flags, &when, nullptr) == 0) return {};
        // The clock was set since we last read the timer; it is armed nevertheless.
        if (errno == ECANCELED) return {};
        return system_error("timerfd_settime", errno);
    }

    void due(dataspace::Engine& engine) {
        uint64_t times = 0;
        ssize_t count = read(timer_.get(), &times, sizeof times);
        if (count < 0 && errno != ECANCELED) return;
        engine.external(facet_, [self = Ref<Clock>(this)](Turn& turn) { self->update(turn); });
    }

    PresenceContext context_;
    clockid_t id_;
    Ref<dataspace::Facet> facet_;
    std::vector<std::unique_ptr<Kind>> kinds_;
    std::unordered_map<Value, Fact, preserves::ValueHash, preserves::ValueEqual> facts_;
    Fd timer_;
    Watch watch_;
    Retry retry_;
};

} // namespace

void serve_time_facts(Turn& turn, Interests& interests, const PresenceContext& context) {
    auto wall = make_ref<Clock>(context, CLOCK_REALTIME);
    wall->serve(turn, interests, "later-than", std::make_unique<From>("later-than"));
    wall->serve(turn, interests, "calendar", std::make_unique<ByCalendar>());
    auto boot = make_ref<Clock>(context, CLOCK_BOOTTIME);
    boot->serve(turn, interests, "after-boot", std::make_unique<From>("after-boot"));
    boot->serve(turn, interests, "every", std::make_unique<Every>());
}

} // namespace muster::services
