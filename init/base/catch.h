// Catch2 for the unit tests, version 2 or 3, whichever the system has.
//
// catch_main.cpp is their main: beside Catch2's own report it prints one line for every test case,
// `ok NAME`, `not ok NAME: reason` or `skip NAME: reason`, which is what `make test` counts.
#pragma once

#if __has_include(<catch2/catch_test_macros.hpp>)
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_all.hpp>
#include <catch2/matchers/catch_matchers_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#include <string>
#include <utility>

namespace muster::test {

// Why the running test case is skipped; empty if it is not.
inline std::string skip_reason;

// Says that the running test case cannot do its work here (no privilege, no such kernel feature).
// The test case returns right after it. What failed before it still counts as failed.
inline void skip(std::string reason) { skip_reason = std::move(reason); }

} // namespace muster::test
