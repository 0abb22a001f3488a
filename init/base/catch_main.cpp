// The main of the unit tests: Catch2's session, and a listener that prints a line per test case.
#if __has_include(<catch2/catch_test_macros.hpp>)
#include <catch2/catch_session.hpp>
#include <catch2/catch_test_case_info.hpp>
#include <catch2/reporters/catch_reporter_event_listener.hpp>
#include <catch2/reporters/catch_reporter_registrars.hpp>
#else
#define CATCH_CONFIG_RUNNER
#endif
#include "init/base/catch.h"

#include <iostream>

// A sanitizer's complaint ends in SIGABRT, which Catch2 attributes to the test case that runs.
extern "C" const char* __asan_default_options() { return "abort_on_error=1"; }
extern "C" const char* __ubsan_default_options() { return "abort_on_error=1:print_stacktrace=1"; }

namespace {

#if __has_include(<catch2/catch_test_macros.hpp>)
using ListenerBase = Catch::EventListenerBase;
using AssertionEnded = void;
const std::string& name_of(const Catch::TestCaseInfo* info) { return info->name; }
#else
using ListenerBase = Catch::TestEventListenerBase;
using AssertionEnded = bool;
const std::string& name_of(const Catch::TestCaseInfo& info) { return info.name; }
#endif

class LinePerTest : public ListenerBase {
  public:
    using ListenerBase::ListenerBase;

    void testCaseStarting(const Catch::TestCaseInfo&) override {
        reason_.clear();
        muster::test::skip_reason.clear();
    }

    AssertionEnded assertionEnded(const Catch::AssertionStats& stats) override {
        const auto& result = stats.assertionResult;
        if (!result.isOk() && reason_.empty()) {
            const auto where = result.getSourceInfo();
            reason_ = std::string(where.file) + ":" + std::to_string(where.line) + ": " +
                      std::string(result.hasExpression() ? result.getExpressionInMacro()
                                                         : std::string(result.getMessage()));
        }
        return AssertionEnded(true);
    }

    void testCaseEnded(const Catch::TestCaseStats& stats) override {
        const std::string& name = name_of(stats.testInfo);
        if (stats.totals.testCases.failed > 0) {
            std::cout << "not ok " << name << ": " << one_line(reason_) << std::endl;
        } else if (!muster::test::skip_reason.empty()) {
            std::cout << "skip " << name << ": " << muster::test::skip_reason << std::endl;
        } else {
            std::cout << "ok " << name << std::endl;
        }
    }

  private:
    static std::string one_line(std::string text) {
        for (char& c : text) {
            if (c == '\n') c = ' ';
        }
        return text;
    }

    std::string reason_; // of the first assertion that failed
};

CATCH_REGISTER_LISTENER(LinePerTest)

} // namespace

int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }
