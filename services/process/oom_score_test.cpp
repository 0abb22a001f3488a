#include "services/process/oom_score.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "init/base/catch.h"
#include "services/process/spawn.h"

using namespace muster;
using namespace muster::services;

namespace {

// 10 while it lives, which any process may give itself.
class Ten {
  public:
    Ten() {
        REQUIRE(file_.valid());
        size_ = ::read(file_.get(), before_, sizeof before_);
        REQUIRE(size_ > 0);
        REQUIRE(::pwrite(file_.get(), "10", 2, 0) == 2);
    }
    // Back down may need a privilege that this test lacks.
    ~Ten() { (void)!::pwrite(file_.get(), before_, static_cast<size_t>(size_), 0); }
    Ten(const Ten&) = delete;
    Ten& operator=(const Ten&) = delete;

    std::string now() const {
        char text[16];
        ssize_t size = ::pread(file_.get(), text, sizeof text, 0);
        return std::string(text, static_cast<size_t>(std::max<ssize_t>(size, 0)));
    }

  private:
    Fd file_{::open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC)};
    char before_[16] = {};
    ssize_t size_ = 0;
};

Spawner made() {
    auto spawner = Spawner::create();
    REQUIRE(spawner.ok());
    return std::move(*spawner);
}

struct Reader {
    Fd read;
    Spawned spawned;

    explicit Reader(Spawner& spawner, bool may_fly) {
        int ends[2];
        REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
        read.reset(ends[0]);
        Fd write(ends[1]);
        SpawnRequest request;
        request.argv = {"cat", "/proc/self/oom_score_adj"};
        request.standard_output = write.get();
        auto made =
            may_fly ? spawner.launch(std::move(request)) : spawner.spawn(std::move(request));
        REQUIRE(made.ok());
        spawned = std::move(*made);
    }
    std::string score(Spawner& spawner) {
        if (spawned.flight) CHECK(spawner.settle(*spawned.flight).message.empty());
        char text[16];
        const ssize_t size = ::read(read.get(), text, sizeof text);
        CHECK(::waitpid(spawned.pid, nullptr, 0) == spawned.pid);
        return std::string(text, static_cast<size_t>(std::max<ssize_t>(size, 0)));
    }
};

} // namespace

TEST_CASE("oom score: a child has 0, we keep ours") {
    Ten ten;
    Spawner spawner = made();
    for (bool may_fly : {false, true}) {
        Reader reader(spawner, may_fly);
        CHECK(reader.score(spawner) == "0\n");
        CHECK(ten.now() == "10\n");
    }
}

TEST_CASE("oom score: none of many children that start at once gets ours") {
    Ten ten;
    Spawner spawner = made();
    for (int round = 0; round < 20; ++round) {
        std::vector<Reader> readers;
        for (int i = 0; i < 10; ++i)
            readers.emplace_back(spawner, true);
        for (Reader& each : readers)
            CHECK(each.score(spawner) == "0\n");
        CHECK(ten.now() == "10\n");
    }
}

TEST_CASE("oom score: one that could not be executed does not keep it from us") {
    Ten ten;
    Spawner spawner = made();
    SpawnRequest request;
    request.argv = {"/proc/self/oom_score_adj"};
    auto spawned = spawner.spawn(request);
    REQUIRE(spawned.ok());
    CHECK(spawned->failure.message.find("not executable") != std::string::npos);
    CHECK(::waitpid(spawned->pid, nullptr, 0) == spawned->pid);
    Reader next(spawner, true);
    CHECK(next.score(spawner) == "0\n");
    CHECK(ten.now() == "10\n");
}

TEST_CASE("oom score: where it is 0 nothing is written") {
    OomScore score;
    score.as_children();
    score.leaving(::getpid());
    score.restore();
    Ten ten;
    score.restore();
    CHECK(ten.now() == "10\n");
}
