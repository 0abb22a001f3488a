#include "services/daemon/gathering.h"

#include <string>
#include <vector>

#include "init/base/catch.h"

using namespace muster;
using namespace muster::services;

TEST_CASE(
    "gathering: what is added in one round is done together, and what concerns one facet in turn") {
    auto loop = std::move(*EventLoop::create());
    dataspace::Engine engine;
    Ref<dataspace::Facet> facet, other;
    std::vector<int> done;
    int turns = 0;
    dataspace::KeepAlive keep, keep_other; // who asserts nothing would end
    engine.spawn("gathering", [&](dataspace::Turn& turn) {
        facet = Ref<dataspace::Facet>(&turn.current());
        keep = dataspace::KeepAlive(facet);
        turn.facet([&](dataspace::Turn& inner) {
            other = Ref<dataspace::Facet>(&inner.current());
            keep_other = dataspace::KeepAlive(other);
        });
    });
    engine.run();
    auto gathering = std::make_shared<Gathering>(*loop, engine, facet);
    loop->set_after_round([&] { return engine.run(); });
    auto add = [&](int number) {
        gathering->add(facet, [&, number](dataspace::Turn& turn) {
            turn.before_commit([&](dataspace::Turn&) { turns += 1; });
            done.push_back(number);
        });
    };
    for (int number = 0; number < 3; ++number)
        add(number);
    engine.external(facet, [&](dataspace::Turn&) { done.push_back(-1); });
    while (done.size() < 4)
        loop->run_once(true);
    CHECK(done == std::vector<int>{-1, 0, 1, 2});
    CHECK(turns == 3);

    // One of each facet in a turn.
    std::string order;
    auto note = [&](const Ref<dataspace::Facet>& where, char name) {
        gathering->add(where, [&, name](dataspace::Turn& turn) {
            order += name;
            turn.before_commit([&](dataspace::Turn&) {
                if (order.back() != ' ') order += ' ';
            });
        });
    };
    note(facet, 'a');
    note(facet, 'b');
    note(other, 'c');
    note(facet, 'd');
    note(other, 'e');
    while (order.size() < 8)
        loop->run_once(true);
    CHECK(order == "ac be d ");

    // More than one turn may hold; then another one, and none is lost.
    done.clear();
    for (int number = 0; number < 1000; ++number)
        add(number);
    while (done.size() < 1000)
        loop->run_once(true);
    for (int number = 0; number < 1000; ++number)
        CHECK(done[static_cast<size_t>(number)] == number);

    // A facet that has ended meanwhile does nothing; nor does anything come when it is given up.
    done.clear();
    engine.external(facet, [&](dataspace::Turn& turn) { turn.stop(*other); });
    gathering->add(other, [&](dataspace::Turn&) { done.push_back(7); });
    gathering->add(facet, [&](dataspace::Turn&) { done.push_back(8); });
    while (done.empty())
        loop->run_once(true);
    CHECK(done == std::vector<int>{8});
    add(9);
    gathering = nullptr;
    loop->run_once(false);
    CHECK(done == std::vector<int>{8});
}
