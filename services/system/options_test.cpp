#include "services/system/options.h"

#include <stdlib.h>

#include "init/base/catch.h"

using namespace muster;
using namespace muster::services;

namespace {

Result<Options> parse(std::vector<std::string> words) {
    words.insert(words.begin(), "dataspace");
    std::vector<char*> argv;
    for (std::string& word : words)
        argv.push_back(word.data());
    int argc = static_cast<int>(argv.size());
    argv.push_back(nullptr);
    return parse_options(argc, argv.data());
}

std::string problem_of(std::vector<std::string> words) {
    auto options = parse(std::move(words));
    return options ? "" : options.error().message;
}

} // namespace

TEST_CASE("dataspace takes syndicate-server's options") {
    auto options =
        parse({"-c", "one", "--config=two", "-p9001", "--port", "9002", "-s", "/a", "--socket",
               "/b", "--inferior", "--control", "--debt-reporter", "-t", "trace", "--no-banner"});
    REQUIRE(options);
    CHECK(options->configs == std::vector<std::string>{"one", "two"});
    CHECK(options->ports == std::vector<uint16_t>{9001, 9002});
    CHECK(options->sockets == std::vector<std::string>{"/a", "/b"});
    CHECK(options->inferior);
    CHECK(options->control);
    CHECK(options->debt_reporter);
    CHECK(options->trace_file == "trace");
    CHECK(options->answers == protocol::Answers::accepted);
    CHECK(!options->banner);
    CHECK(!options->system);
    CHECK(options->credit == dataspace::default_credit);
}

TEST_CASE("dataspace names what is wrong with its command line") {
    CHECK(problem_of({"--frobnicate"}) == "unknown option --frobnicate");
    CHECK(problem_of({"-x"}) == "unknown option -x");
    CHECK(problem_of({"file"}) == "unknown argument file");
    CHECK(problem_of({"-c"}) == "-c needs an argument");
    CHECK(problem_of({"--trace-file"}) == "--trace-file needs an argument");
    CHECK(problem_of({"-p", "http"}) == "--port http: not a port");
    CHECK(problem_of({"-p", "0"}) == "--port 0: not a port");
    CHECK(problem_of({"-p", "65536"}) == "--port 65536: not a port");
    CHECK(problem_of({"--gatekeeper-answers", "yes"}) ==
          "--gatekeeper-answers is accepted or ok, not yes");
    CHECK(problem_of({"--system", "--inferior"}) == "--inferior and --system exclude each other");
}

TEST_CASE("SYNDICATE_CREDIT is the limit of accounts") {
    CHECK(std::string(options_help)
              .find(std::to_string(dataspace::default_credit) + " if it is not set") !=
          std::string::npos);
    setenv("SYNDICATE_CREDIT", "7", 1);
    auto options = parse({});
    setenv("SYNDICATE_CREDIT", "much", 1);
    std::string problem = problem_of({});
    unsetenv("SYNDICATE_CREDIT");
    REQUIRE(options);
    CHECK(options->credit == 7);
    CHECK(problem == "SYNDICATE_CREDIT: much: not a number");
}
