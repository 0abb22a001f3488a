// Package versions and what dependencies say about them. Host only.
// Source: the rules of apk-package(5); shared/reference/alpine.md section 1.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "init/base/result.h"

namespace muster::apk {

// digits{.digits}[letter]{_suffix[digits]}[~hex][-rdigits]
bool version_is_valid(std::string_view version);

enum class Order { less, equal, greater };

// Both valid. PREFIX: B counts as equal when A goes on where B ends ("1.2.3" and "1.2").
Order compare_versions(std::string_view a, std::string_view b, bool prefix = false);

// One word of a package's D: line.
struct Dependency {
    std::string name;      // package name, so:…, cmd:…, /path
    bool conflict = false; // "!name": must not be there
    bool less = false, equal = false, greater = false, prefix = false; // all false: any version
    std::string version;

    std::string text() const;
    // Whether something that offers `name` with this version ("" for none) satisfies it.
    bool allows(std::string_view offered) const;
};

// What is not understood (repository tags, identity hashes, broken versions) is an error.
Result<Dependency> parse_dependency(std::string_view text);

// One word of a package's p: line, "name" or "name=version".
struct Provision {
    std::string name;
    std::string version; // "" for none
};
Result<Provision> parse_provision(std::string_view text);

} // namespace muster::apk
