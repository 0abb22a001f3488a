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

// One word of a package's D: line. Its texts are parts of the word that was parsed.
struct Dependency {
    std::string_view name; // package name, so:…, cmd:…, /path
    std::string_view version;
    std::string_view tag;  // "name@tag": repositories with this tag will do as well
    bool conflict = false; // "!name": must not be there
    bool less = false, equal = false, greater = false, prefix = false; // all false: any version
    bool identity = false; // "name><Q1…": the very package with this identity

    std::string text() const;
    // Whether something that offers `name` with this version ("" for none) satisfies it, not
    // looking at `conflict`. IDENTITY: of the package that offers it.
    bool allows(std::string_view offered, std::string_view identity_offered = {}) const;
};

// What is not understood (broken names, operators, versions) is an error.
Result<Dependency> parse_dependency(std::string_view text);

// One word of a package's p: line, "name" or "name=version".
struct Provision {
    std::string name;
    std::string version; // "" for none
};
Result<Provision> parse_provision(std::string_view text);

} // namespace muster::apk
