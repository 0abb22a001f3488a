#include "services/log/journal.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace muster::logs {

namespace {

// Steps of an intake. In each of them a crash is told from the others by what is in there.
constexpr uint32_t step_read = 0;  // bytes may have come; next_head tells whether lines are put in
constexpr uint32_t step_rest = 1;  // lines are in the ring; `rest` has to get into its place
constexpr uint32_t step_clear = 2; // all is done; it only has to be zeros again

size_t length_of(const Intake& intake) {
    size_t size = intake_size;
    while (size > 0 && intake.bytes[size - 1] == 0)
        --size;
    return size;
}

uint32_t find_partial(const Shared& shared, int32_t pid, std::string_view stream) {
    for (uint32_t i = 0; i < std::min<size_t>(shared.partials_there, partial_count); ++i) {
        const Partial& partial = shared.partials[i];
        if (partial.size.load() != 0 && partial.source.pid == pid && partial.source.sound() &&
            partial.source.stream() == stream)
            return i;
    }
    return no_partial;
}

std::string_view text_of(const Partial& partial) {
    return {partial.bytes, std::min<size_t>(partial.size.load(), longest_line)};
}

} // namespace

void split_lines(std::string& rest, std::string_view bytes, std::string& lines) {
    while (!bytes.empty()) {
        size_t end = bytes.find('\n');
        bool complete = end != std::string_view::npos;
        std::string_view part = bytes.substr(0, end);
        bytes.remove_prefix(complete ? end + 1 : bytes.size());
        if (complete && rest.empty() && part.size() <= longest_line) {
            lines.append(part);
            lines += '\n';
            continue;
        }
        rest.append(part);
        while (rest.size() > longest_line) {
            // Not within a character: back to where one begins.
            size_t cut = longest_line;
            while (cut > longest_line - 4 && (static_cast<unsigned char>(rest[cut]) & 0xc0) == 0x80)
                --cut;
            lines.append(rest, 0, cut);
            lines += '\n';
            rest.erase(0, cut);
        }
        if (!complete) continue;
        lines += rest;
        lines += '\n';
        rest.clear();
    }
}

Result<std::unique_ptr<Journal>> Journal::open(EventLoop& loop, const std::string& folder) {
    auto ring = Ring::open(folder, Ring::For::reading);
    if (!ring) return ring.error();
    std::unique_ptr<Journal> journal(new Journal(loop, std::move(*ring)));
    Journal* self = journal.get();
    auto watch = loop.watch(self->ring_.wake_fd(), EPOLLIN, [self](uint32_t) { self->woken(); });
    if (!watch) return watch.error();
    self->watch_ = std::move(*watch);
    self->shared().ending.store(0);
    self->shared().streams.store(0);
    self->shared().held.store(0);
    self->recover();
    self->settle_writing();
    self->ring_.wake_writer(); // our predecessor may have died before it did
    return journal;
}

struct Journal::Leftover {
    Leftover(Journal& its, Source from, Fd end, uint32_t at, std::string begun, Left* kept)
        : journal(its), source(from), fd(std::move(end)), partial(at), rest(std::move(begun)),
          left(kept), share(journal, [&its] {
              // Not now: others of those that are told may end by that.
              its.loop_.next_round([&its] { its.read_leftovers(); });
          }) {
        journal.stream_opened(1);
    }
    ~Leftover() { journal.stream_opened(-1); }
    Journal& journal;
    Source source;
    Fd fd;
    uint32_t partial;
    std::string rest;
    Left* left; // null: nobody keeps it
    Share share;
};

namespace {

std::string kept_name(const Source& source) {
    return std::string(Journal::kept_prefix) + std::to_string(source.pid) + " " +
           std::string(source.stream());
}

} // namespace

Journal::Journal(EventLoop& loop, Ring ring) : loop_(loop), ring_(std::move(ring)) {}

Journal::~Journal() { leftovers_.clear(); }

// Those that were never used are not even looked at: they need no memory then.
std::span<Left> Journal::lefts() {
    return std::span(shared().left).first(std::min<size_t>(shared().left_there, left_count));
}

void Journal::leave(Source source, Fd fd, uint32_t partial, std::string rest) {
    Left* left = nullptr;
    if (keeper_) {
        for (Left& each : lefts())
            if (each.used.load() == 0) left = &each;
        if (!left && shared().left_there < left_count) left = &shared().left[shared().left_there++];
    }
    if (left) {
        left->source = source;
        left->used.store(1);
        if (!keeper_.store(kept_name(source), fd.get())) {
            left->used.store(0);
            left = nullptr;
        }
    }
    go_on_with(source, std::move(fd), partial, std::move(rest), left);
}

void Journal::go_on_with(const Source& source, Fd fd, uint32_t partial, std::string rest,
                         Left* left) {
    leftovers_.push_back(
        std::make_unique<Leftover>(*this, source, std::move(fd), partial, std::move(rest), left));
    loop_.next_round([this] { read_leftovers(); });
}

void Journal::take_left(const std::string& name, Fd fd) {
    for (Left& left : lefts()) {
        if (left.used.load() == 0 || !left.source.sound() || kept_name(left.source) != name)
            continue;
        uint32_t partial = no_partial;
        std::string rest;
        (void)resume(left.source.pid, left.source.stream(), partial, rest);
        return go_on_with(left.source, std::move(fd), partial, std::move(rest), &left);
    }
    keeper_.drop(name); // it had been read
}

bool Journal::took_left(int32_t pid, std::string_view stream) const {
    return !adopted_ && std::any_of(leftovers_.begin(), leftovers_.end(), [&](const auto& each) {
        return each->source.pid == pid && each->source.stream() == stream;
    });
}

void Journal::read_leftovers() {
    std::erase_if(leftovers_, [this](const std::unique_ptr<Leftover>& left) {
        while (left->share.may_read(true)) {
            ssize_t size = ::read(left->fd.get(), buffer(left->source, left->partial), intake_size);
            if (size <= 0) {
                finish(left->source, left->partial, left->rest);
                if (left->left) {
                    left->left->used.store(0);
                    keeper_.drop(kept_name(left->source));
                }
                return true;
            }
            take(left->share, left->partial, left->rest, static_cast<size_t>(size), nullptr);
        }
        return false;
    });
}

Source Journal::complete(Source source) const {
    Rotation& rotation = source.rotation;
    if (rotation.size_kib == 0) rotation.size_kib = default_.size_kib;
    if (rotation.age_hours == 0) rotation.age_hours = default_.age_hours;
    if (rotation.number == 0) rotation.number = default_.number;
    return source;
}

// What the second stage before us had read when it ended.
void Journal::recover() {
    Intake& intake = shared().intake;
    size_t size = length_of(intake);
    uint32_t step = intake.step.load();
    if (size > 0 && step != step_clear && intake.source.sound()) {
        uint32_t index = find_partial(shared(), intake.source.pid, intake.source.stream());
        std::string rest;
        if (step == step_rest) {
            rest.assign(intake.rest, std::min<size_t>(intake.rest_size, longest_line));
        } else {
            std::string lines;
            if (index != no_partial) rest = text_of(shared().partials[index]);
            split_lines(rest, {intake.bytes, size}, lines);
            uint64_t next_head = intake.next_head.load();
            bool there = next_head != 0 && next_head == shared().head.load();
            // We may be killed in here, too.
            if (!lines.empty() && !there)
                (void)ring_.append(intake.source, realtime_us(), lines,
                                   [&](uint64_t head) { intake.next_head.store(head); });
        }
        ring_.set_partial(index, intake.source, rest);
    }
    clear_intake(size);
    for (uint32_t i = 0; i < std::min<size_t>(shared().partials_there, partial_count); ++i)
        if (shared().partials[i].size.load() != 0) orphans_.push_back(i);
}

void Journal::clear_intake(size_t size) {
    Intake& intake = shared().intake;
    intake.step.store(step_clear);
    std::memset(intake.bytes, 0, size);
    intake.next_head.store(0);
    intake.step.store(step_read);
}

char* Journal::buffer(const Source& source, uint32_t partial) {
    Intake& intake = shared().intake;
    intake.source = complete(source);
    intake.partial = partial;
    return intake.bytes;
}

uint64_t Journal::take(Share& share, uint32_t& partial, std::string& rest, size_t size,
                       std::string* lines) {
    Intake& intake = shared().intake;
    uint64_t time_us = realtime_us();
    std::string own;
    std::string& text = lines ? *lines : own;
    text.clear();
    split_lines(rest, {intake.bytes, size}, text);
    if (!text.empty()) {
        uint64_t before = shared().head.load();
        bool in = ring_.append(intake.source, time_us, text,
                               [&](uint64_t head) { intake.next_head.store(head); });
        if (!in) shared().dropped.fetch_add(1);
        charge(share, before);
    }
    if (!rest.empty() || partial != no_partial) {
        intake.rest_size = static_cast<uint32_t>(rest.size());
        std::memcpy(intake.rest, rest.data(), rest.size());
        intake.step.store(step_rest);
        ring_.set_partial(partial, intake.source, rest);
    }
    clear_intake(size);
    return time_us;
}

void Journal::finish(const Source& source, uint32_t& partial, std::string& rest, uint64_t time_us) {
    if (!rest.empty()) put(source, rest, time_us);
    rest.clear();
    ring_.set_partial(partial, source, {});
}

// What was appended since the head was there.
void Journal::charge(Share& share, uint64_t before) {
    if (shared().tail.load() >= share.last_) share.waiting_ = 0;
    share.last_ = shared().head.load();
    share.waiting_ += share.last_ - before;
}

void Journal::put(Share& share, const Source& source, std::string_view text, uint64_t time_us) {
    uint64_t before = shared().head.load();
    put(source, text, time_us);
    charge(share, before);
}

void Journal::put(const Source& source, std::string_view text, uint64_t time_us) {
    Source from = complete(source);
    std::string rest, lines;
    // A block has a bound; a message from somewhere need not.
    while (!text.empty()) {
        std::string_view part = text.substr(0, intake_size);
        text.remove_prefix(part.size());
        lines.clear();
        split_lines(rest, part, lines);
        if (text.empty() && !rest.empty()) lines += std::exchange(rest, {}) + "\n";
        if (!lines.empty() && !ring_.append(from, time_us, lines)) shared().dropped.fetch_add(1);
    }
}

bool Journal::resume(int32_t pid, std::string_view stream, uint32_t& partial, std::string& rest) {
    partial = find_partial(shared(), pid, stream);
    if (partial == no_partial) return false;
    rest = text_of(shared().partials[partial]);
    std::erase(orphans_, partial);
    return true;
}

void Journal::finish_orphans() {
    for (uint32_t index : std::exchange(orphans_, {})) {
        Partial& partial = shared().partials[index];
        if (partial.source.sound()) put(partial.source, text_of(partial));
        partial.size.store(0);
    }
    adopted_ = true;
    // Noted by a second stage that was killed before it was kept: its process had it still.
    for (Left& left : lefts())
        if (std::none_of(leftovers_.begin(), leftovers_.end(),
                         [&](const auto& each) { return each->left == &left; }))
            left.used.store(0);
}

// --- room ---

Journal::Share::Share(Journal& journal, std::function<void()> on_space)
    : journal_(journal), on_space_(std::move(on_space)) {}

Journal::Share::~Share() { std::erase(journal_.shares_, this); }

bool Journal::Share::may_read(bool anyway) {
    Shared& shared = journal_.shared();
    auto room = [&] {
        if (!shared.writing.load()) return true;
        if (shared.tail.load() >= last_) waiting_ = 0;
        size_t space = journal_.ring_.space();
        return space >= largest_block && (anyway || waiting_ <= space / 4);
    };
    if (room()) return true;
    if (!held_) journal_.shares_.push_back(this);
    held_ = true;
    shared.held.store(1);
    // It may have come while we said that we wait for it.
    if (!room()) {
        journal_.await_writer();
        return false;
    }
    held_ = false;
    std::erase(journal_.shares_, this);
    return true;
}

void Journal::woken() {
    ring_.drain_wake();
    settle_writing();
    if (!shares_.empty()) release_shares();
    if (shares_.empty()) stuck_.cancel();
}

void Journal::release_shares() {
    shared().held.store(0);
    for (Share* share : std::exchange(shares_, {}))
        if (std::exchange(share->held_, false)) share->on_space_();
}

void Journal::await_writer() {
    if (stuck_.pending() || patience_ == 0) return;
    seen_tail_ = shared().tail.load();
    stuck_ = loop_.after(patience_, [this] { stuck(); });
}

void Journal::stuck() {
    if (shares_.empty()) return;
    bool moved = shared().tail.load() != seen_tail_;
    if (!moved && !shared().wants_to_write.load()) {
        // It was told to end: nobody else takes lines out.
        if (report_) report_("the log writer has ended: the newest lines are kept in memory");
        settle_writing();
        return release_shares();
    }
    await_writer();
    if (moved) return;
    if (report_)
        report_("the log writer has written nothing for " + std::to_string(patience_ / second) +
                " s: who prints waits; it is started again");
    if (restart_writer_) restart_writer_();
}

void Journal::settle_writing() {
    uint32_t wanted = shared().wants_to_write.load();
    if (shared().writing.exchange(wanted) != wanted) ring_.wake_writer();
    if (!wanted || !report_) return;
    if (uint64_t dropped = shared().dropped.exchange(0))
        report_(std::to_string(dropped) + " lines were not kept: there was no room for them");
}

void Journal::set_ending() {
    shared().ending.store(1);
    ring_.wake_writer();
}

void Journal::stream_opened(int count) {
    shared().streams.fetch_add(static_cast<uint32_t>(count));
    if (shared().ending.load()) ring_.wake_writer();
}

} // namespace muster::logs
