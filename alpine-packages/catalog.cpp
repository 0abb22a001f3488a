#include "alpine-packages/catalog.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace muster::apk {
namespace {

// FNV-1a, eight bytes at a time.
std::size_t hash_of(std::string_view text) {
    std::uint64_t hash = 0xcbf29ce484222325u ^ text.size();
    while (text.size() >= 8) {
        std::uint64_t part = 0;
        std::memcpy(&part, text.data(), 8);
        hash = (hash ^ part) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
        text.remove_prefix(8);
    }
    std::uint64_t part = 0;
    std::memcpy(&part, text.data(), text.size());
    hash = (hash ^ part) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

// Sorts what belongs to each name together; `range` of each name in `out`.
template <typename Item, typename Range>
void group(const std::vector<std::pair<NameId, Item>>& loose, std::size_t names,
           std::vector<Item>& out, std::vector<Range>& ranges) {
    ranges.assign(names, {});
    for (const auto& [name, item] : loose)
        ++ranges[name].end;
    std::uint32_t at = 0;
    for (Range& range : ranges) {
        std::uint32_t size = range.end;
        range.begin = range.end = at;
        at += size;
    }
    out.resize(loose.size());
    for (const auto& [name, item] : loose)
        out[ranges[name].end++] = item;
}

} // namespace

Result<Catalog> Catalog::build(std::vector<std::string> texts,
                               const std::vector<std::string>& where) {
    Catalog catalog;
    if (texts.size() > most_repositories)
        return Error{"more than " + std::to_string(most_repositories) + " repositories"};
    std::size_t bytes = 0;
    for (const std::string& text : texts)
        bytes += text.size();
    // real indexes have a package in 420 bytes, and a name in 80
    catalog.packages_.reserve(bytes / 400);
    catalog.names_.reserve(bytes / 64);
    catalog.loose_offers_.reserve(bytes / 64);
    catalog.slots_.assign(1024, nobody);
    while (catalog.slots_.size() < bytes / 40)
        catalog.slots_.resize(catalog.slots_.size() * 2, nobody);
    for (std::size_t i = 0; i < texts.size(); ++i) {
        catalog.texts_.push_back(std::move(texts[i]));
        auto done = catalog.read_records(catalog.texts_.back(), i);
        if (!done) return done.error().with_context(where[i]);
    }
    catalog.connect();
    return catalog;
}

std::size_t Catalog::slot_of(std::string_view name) const {
    std::size_t mask = slots_.size() - 1, slot = hash_of(name) & mask;
    while (slots_[slot] != nobody && names_[slots_[slot]] != name)
        slot = (slot + 1) & mask;
    return slot;
}

void Catalog::grow() {
    slots_.assign(slots_.size() * 2, nobody);
    for (NameId id = 0; id < names_.size(); ++id)
        slots_[slot_of(names_[id])] = id;
}

NameId Catalog::find(std::string_view name) const { return slots_[slot_of(name)]; }

NameId Catalog::add_name(std::string_view name) {
    std::size_t slot = slot_of(name);
    if (slots_[slot] != nobody) return slots_[slot];
    NameId id = static_cast<NameId>(names_.size());
    slots_[slot] = id;
    names_.push_back(name);
    if (names_.size() * 2 > slots_.size()) grow();
    return id;
}

NameId Catalog::intern(std::string_view name) {
    NameId id = find(name);
    return id != nobody ? id : add_name(words_.emplace_back(name));
}

// One record at a time, one pass over its lines.
Result<> Catalog::read_records(std::string_view text, std::size_t repository) {
    std::string_view rest = text;
    CatalogPackage package;
    std::string_view name;
    std::size_t begin = 0;
    auto wrong = [&](const std::string& why) {
        auto line =
            std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(begin), '\n');
        return Error{"APKINDEX, record at line " + std::to_string(line + 1) + ": " + why};
    };
    char letter = 0;
    std::string_view value;
    for (bool more = true; more;) {
        std::size_t at = text.size() - rest.size();
        more = next_line(rest, letter, value);
        if (!more && !rest.empty()) return wrong("not \"X:value\"");
        if (!more || letter == 0) {
            if (at > begin) {
                package.record = text.substr(begin, at - begin);
                if (std::string why = add(package, name, repository); !why.empty())
                    return wrong(why);
            }
            package = {};
            name = {};
            begin = text.size() - rest.size();
            continue;
        }
        switch (letter) {
        case 'P':
            name = value;
            break;
        case 'V':
            package.version = value;
            break;
        case 'C':
            package.identity = value;
            break;
        case 'p':
            package.provides = value;
            break;
        case 'i':
            package.install_if = value;
            break;
        case 'k': {
            auto [end, error] =
                std::from_chars(value.data(), value.data() + value.size(), package.priority);
            if (error != std::errc() || end != value.data() + value.size())
                return wrong("k: is no number");
            break;
        }
        default: // upper-case letters may be something that has to be understood
            if (letter >= 'A' && letter <= 'Z' && !std::strchr("ASITULDFMRZ", letter))
                package.usable = false;
        }
    }
    return {};
}

std::string Catalog::add(const CatalogPackage& package, std::string_view name,
                         std::size_t repository) {
    if (!is_plain(name) || !is_plain(package.version))
        return "the record has no usable name and version";
    if (!package.identity.starts_with("Q1"))
        return std::string(name) + " has no identity (C:) that is understood";
    NameId id = add_name(name);
    if (newest_of_name_.size() <= id) newest_of_name_.resize(id + 1, nobody);
    // the same package in two repositories is one
    for (PackageId other = newest_of_name_[id]; other != nobody; other = next_of_name_[other]) {
        CatalogPackage& same = packages_[other];
        if (same.version != package.version || same.identity != package.identity) continue;
        same.repositories |= std::uint64_t{1} << repository;
        return "";
    }
    PackageId place = static_cast<PackageId>(packages_.size());
    packages_.push_back(package);
    CatalogPackage& added = packages_.back();
    added.name = id;
    added.repositories = std::uint64_t{1} << repository;
    next_of_name_.push_back(newest_of_name_[id]);
    newest_of_name_[id] = place;
    loose_offers_.push_back({id, {place, true, true, added.version}});
    each_word(added.provides, [&](std::string_view word) {
        std::size_t equals = std::min(word.find('='), word.size());
        bool versioned = equals < word.size();
        std::string_view version = versioned ? word.substr(equals + 1) : std::string_view();
        if (equals == 0 || (versioned && !version_is_valid(version))) return;
        loose_offers_.push_back(
            {add_name(word.substr(0, equals)), {place, versioned, false, version}});
    });
    each_word(added.install_if, [&](std::string_view word) {
        std::size_t size = std::min(word.find_first_of("<>=~@"), word.size());
        if (size == 0 || word.front() == '!') return;
        loose_triggers_.push_back({add_name(word.substr(0, size)), place});
    });
    return "";
}

void Catalog::connect() {
    group(loose_offers_, names_.size(), offers_, offer_ranges_);
    group(loose_triggers_, names_.size(), triggers_, trigger_ranges_);
    loose_offers_ = {};
    loose_triggers_ = {};
    newest_of_name_ = {};
    next_of_name_ = {};
    depends_.resize(packages_.size());
    install_if_.resize(packages_.size());
    entry_of_.resize(packages_.size());
}

std::string Catalog::full_name(PackageId id) const {
    const CatalogPackage& package = packages_[id];
    return std::string(names_[package.name]) + "-" + std::string(package.version);
}

std::span<const Offer> Catalog::offers(NameId name) const {
    if (name >= offer_ranges_.size()) return {};
    Range range = offer_ranges_[name];
    return std::span(offers_).subspan(range.begin, range.end - range.begin);
}

std::span<const PackageId> Catalog::triggered_by(NameId name) const {
    if (name >= trigger_ranges_.size()) return {};
    Range range = trigger_ranges_[name];
    return std::span(triggers_).subspan(range.begin, range.end - range.begin);
}

std::vector<std::pair<NameId, Offer>> Catalog::offered_by(PackageId package) const {
    const CatalogPackage& record = packages_[package];
    std::vector<std::pair<NameId, Offer>> out = {
        {record.name, {package, true, true, record.version}}};
    each_word(record.provides, [&](std::string_view word) {
        std::size_t equals = std::min(word.find('='), word.size());
        bool versioned = equals < word.size();
        std::string_view version = versioned ? word.substr(equals + 1) : std::string_view();
        NameId name = find(word.substr(0, equals));
        if (name == nobody || (versioned && !version_is_valid(version))) return;
        out.push_back({name, {package, versioned, false, version}});
    });
    return out;
}

Result<Need> Catalog::parse_need(std::string_view word) {
    auto says = parse_dependency(word);
    if (!says) return says.error();
    return Need{intern(says->name), *says};
}

std::span<const Need> Catalog::read_needs(std::string_view words, Lazy& lazy, PackageId package) {
    if (lazy.read) return lazy.needs;
    lazy.read = true;
    each_word(words, [&](std::string_view word) {
        auto need = parse_need(word);
        if (need)
            lazy.needs.push_back(*need);
        else
            packages_[package].usable = false;
    });
    return lazy.needs;
}

std::span<const Need> Catalog::depends(PackageId package) {
    Lazy& lazy = depends_[package];
    if (lazy.read) return lazy.needs;
    std::string_view rest = packages_[package].record, value, words;
    for (char letter = 0; next_line(rest, letter, value);)
        if (letter == 'D') words = value;
    return read_needs(words, lazy, package);
}

std::span<const Need> Catalog::install_if(PackageId package) {
    return read_needs(packages_[package].install_if, install_if_[package], package);
}

const IndexEntry& Catalog::entry(PackageId package) {
    if (entry_of_[package]) return *entry_of_[package];
    auto entry = parse_record(packages_[package].record);
    // what is wrong with it now can only be a number; then the check of the size says so
    if (!entry) {
        entry = IndexEntry{};
        entry->name = names_[packages_[package].name];
        entry->version = packages_[package].version;
        entry->identity = packages_[package].identity;
    }
    entry_of_[package] = &entries_.emplace_back(std::move(*entry));
    return *entry_of_[package];
}

} // namespace muster::apk
