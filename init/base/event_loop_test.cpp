#include "init/base/event_loop.h"

#include <fcntl.h>

#include <string>

#include "init/base/catch.h"
#include "init/base/ref.h"

using namespace muster;

namespace {

struct Pipe {
    Fd read_end;
    Fd write_end;
    Pipe() {
        int ends[2];
        REQUIRE(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
        read_end = Fd(ends[0]);
        write_end = Fd(ends[1]);
    }
    void write_byte() { REQUIRE(::write(write_end.get(), "x", 1) == 1); }
    void read_byte() {
        char byte;
        REQUIRE(::read(read_end.get(), &byte, 1) == 1);
    }
};

std::unique_ptr<EventLoop> make_loop() { return std::move(*EventLoop::create()); }

} // namespace

TEST_CASE("a watched descriptor is reported as long as it is ready") {
    auto loop = make_loop();
    Pipe pipe;
    int calls = 0;
    auto watch = loop->watch(pipe.read_end.get(), EPOLLIN, [&](uint32_t) { ++calls; });
    REQUIRE(watch);
    loop->run_once(false);
    CHECK(calls == 0);
    pipe.write_byte();
    loop->run_once(true);
    loop->run_once(true);
    CHECK(calls == 2);
    watch->want(0);
    loop->run_once(false);
    CHECK(calls == 2);
    watch->want(EPOLLIN);
    pipe.read_byte();
    loop->run_once(false);
    CHECK(calls == 2);
}

TEST_CASE("watches may go in any callback, their own too") {
    auto loop = make_loop();
    Pipe one, two;
    one.write_byte();
    two.write_byte();
    Watch first, second;
    int calls = 0;
    auto end_both = [&](uint32_t) {
        ++calls;
        first.cancel();
        second.cancel();
    };
    first = *loop->watch(one.read_end.get(), EPOLLIN, end_both);
    second = *loop->watch(two.read_end.get(), EPOLLIN, end_both);
    loop->run_once(true);
    loop->run_once(false);
    CHECK(calls == 1);
    CHECK_FALSE(first);
}

TEST_CASE("timers fire in the order in which they are due, once, unless they are cancelled") {
    auto loop = make_loop();
    std::string order;
    Timer b = loop->after(2 * millisecond, [&] { order += 'b'; });
    Timer a = loop->after(1 * millisecond, [&] { order += 'a'; });
    Timer never = loop->after(1 * millisecond, [&] { order += 'x'; });
    Timer d = loop->after(4 * millisecond, [&] { order += 'd'; });
    Timer c = loop->after(3 * millisecond, [&] {
        order += 'c';
        CHECK_FALSE(c.pending());
        c = loop->after(0, [&] { order += '!'; });
    });
    never.cancel();
    Timer moved = std::move(d);
    while (order.size() < 5)
        loop->run_once(true);
    CHECK((order == "abcd!" || order == "abc!d"));
    CHECK_FALSE(moved.pending());
}

TEST_CASE("a thousand timers in any order") {
    auto loop = make_loop();
    std::vector<Timer> timers;
    size_t fired = 0;
    for (int i = 0; i < 1000; ++i)
        timers.push_back(loop->after(static_cast<uint64_t>(i * 7919 % 1000), [&] { ++fired; }));
    for (size_t i = 0; i < timers.size(); i += 3)
        timers[i].cancel();
    while (fired < 666)
        loop->run_once(true);
    loop->run_once(false);
    CHECK(fired == 666);
}

TEST_CASE("the hook runs after each round and can keep the loop from blocking") {
    auto loop = make_loop();
    int rounds = 0;
    std::string order;
    loop->set_after_round([&] {
        order += 'h';
        loop->defer([&] { order += 'd'; });
        if (++rounds == 3) loop->stop();
        return rounds < 3;
    });
    loop->run();
    CHECK(rounds == 3);
    CHECK(order == "hdhdhd");
}

TEST_CASE("what a deferred action leaves for the hook does not wait for an event") {
    auto loop = make_loop();
    int work = 0;
    int done = 0;
    loop->set_after_round([&] {
        done += std::exchange(work, 0);
        return false;
    });
    loop->run_once(false);
    loop->defer([&] { work = 1; });
    loop->run_once(false);
    bool late = false;
    Timer guard = loop->after(60 * second, [&] { late = true; });
    loop->run_once(true);
    CHECK(done == 1);
    CHECK_FALSE(late);
}

TEST_CASE("a loop may end before those who watch, also when its callbacks own them") {
    struct Owner : Counted {
        Watch first;
        Watch second;
        Timer early;
        Timer late;
    };
    Pipe one;
    Pipe two;
    auto loop = make_loop();
    auto outside = loop->watch(one.write_end.get(), EPOLLOUT, [](uint32_t) {});
    REQUIRE(outside);
    auto owner = make_ref<Owner>();
    // The last callback that goes takes the owner along.
    owner->first = std::move(*loop->watch(one.read_end.get(), EPOLLIN, [owner](uint32_t) {}));
    owner->second = std::move(*loop->watch(two.read_end.get(), EPOLLIN, [owner](uint32_t) {}));
    owner->early = loop->after(second, [owner] {});
    owner->late = loop->after(2 * second, [owner] {});
    owner = nullptr;
    loop.reset();
    CHECK(outside->operator bool() == false);
}
