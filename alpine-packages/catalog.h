// All packages of several repositories, for solving. Host only.
//
// Loading looks at each record once and keeps only where things are: names and what offers them,
// what may be installed by install_if. Dependencies are taken apart when somebody asks for them,
// so that what no solution comes near costs nothing.
// Source: shared/reference/alpine.md section 1.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "alpine-packages/index.h"
#include "alpine-packages/version.h"
#include "init/base/result.h"

namespace muster::apk {

using NameId = std::uint32_t;
using PackageId = std::uint32_t;
inline constexpr std::uint32_t nobody = UINT32_MAX;

// A package that offers a name: its own, or one that it provides.
struct Offer {
    PackageId package = nobody;
    bool versioned = false; // without a version it only stands in for the name
    bool own = false;       // the package's own name
    std::string_view version;
};

// One word of a D: or i: line.
struct Need {
    NameId name = nobody;
    Dependency says; // views into the index text
};

struct CatalogPackage {
    NameId name = nobody;
    std::string_view version, identity, record; // into the index text
    std::string_view provides, install_if;      // as written
    std::uint64_t repositories = 0;             // bit n: in the nth
    int priority = 0;                           // provider_priority; 0: none
    bool usable = true;                         // false: it says things that are not understood
};

class Catalog {
  public:
    static constexpr std::size_t most_repositories = 64;

    // TEXTS are the texts of the repositories' indexes, in their order. An error names the
    // repository by its place in WHERE.
    static Result<Catalog> build(std::vector<std::string> texts,
                                 const std::vector<std::string>& where);

    std::size_t name_count() const { return names_.size(); }
    std::size_t package_count() const { return packages_.size(); }
    std::string_view name(NameId id) const { return names_[id]; }
    const CatalogPackage& package(PackageId id) const { return packages_[id]; }
    std::string full_name(PackageId id) const;

    // `nobody` if nothing is called so and nothing asked for it.
    NameId find(std::string_view name) const;
    // The same; a name that is not there is added, with nothing that offers it.
    NameId intern(std::string_view name);

    std::span<const Offer> offers(NameId name) const;
    // What the package is called and provides, its own name first.
    std::vector<std::pair<NameId, Offer>> offered_by(PackageId package) const;
    // Packages whose install_if has this name.
    std::span<const PackageId> triggered_by(NameId name) const;

    // Taken apart when asked for the first time. An unusable word makes the package unusable.
    std::span<const Need> depends(PackageId package);
    std::span<const Need> install_if(PackageId package);
    Result<Need> parse_need(std::string_view word);

    // The whole record; valid as long as the catalog.
    const IndexEntry& entry(PackageId package);

  private:
    struct Range {
        std::uint32_t begin = 0, end = 0;
    };
    struct Lazy {
        bool read = false;
        std::vector<Need> needs;
    };

    Result<> read_records(std::string_view text, std::size_t repository);
    std::string add(const CatalogPackage& package, std::string_view name, std::size_t repository);
    void connect();
    NameId add_name(std::string_view name);
    std::size_t slot_of(std::string_view name) const;
    void grow();
    std::span<const Need> read_needs(std::string_view words, Lazy& lazy, PackageId package);

    std::deque<std::string> texts_; // a deque: views into it stay when the catalog is moved
    std::deque<std::string> words_; // names that came from outside
    std::vector<std::string_view> names_;
    std::vector<std::uint32_t> slots_;      // hash table of names
    std::vector<PackageId> newest_of_name_; // chain of packages with one name, by `next_of_name_`
    std::vector<PackageId> next_of_name_;
    std::vector<CatalogPackage> packages_;
    std::vector<std::pair<NameId, Offer>> loose_offers_;
    std::vector<std::pair<NameId, PackageId>> loose_triggers_;
    std::vector<Offer> offers_;
    std::vector<Range> offer_ranges_; // by name
    std::vector<PackageId> triggers_;
    std::vector<Range> trigger_ranges_;
    std::vector<Lazy> depends_, install_if_;
    std::vector<const IndexEntry*> entry_of_;
    std::deque<IndexEntry> entries_;
};

} // namespace muster::apk
