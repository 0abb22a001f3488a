#include "alpine-packages/repository.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <thread>

#include "alpine-packages/files.h"
#include "alpine-packages/solver.h"
#include "alpine-packages/version.h"

namespace muster::apk {

bool MirrorOptions::take(std::string_view name, const std::string& value) {
    if (name == "--cache")
        cache = value;
    else if (name == "--branch")
        branch = value;
    else if (name == "--arch")
        arch = value;
    else if (name == "--keys")
        key_folders.push_back(value);
    else if (name == "--key-source")
        key_sources.push_back(value);
    else if (name == "--stall")
        stall = static_cast<unsigned>(std::clamp(std::atoi(value.c_str()), 1, 3600));
    else
        return false;
    return true;
}
namespace {

constexpr std::time_t fresh_for = 24 * 60 * 60; // seconds that a downloaded index is not asked anew

bool is_url(const std::string& location) { return location.find("://") != std::string::npos; }

constexpr std::uint64_t largest_key_package = 1 << 20; // bytes; nobody vouches for it yet

struct IndexFile {
    std::string data;
    std::string copy; // the file of a download
    bool from_before = false;
};

// The index of the repository at LOCATION; nothing if it has none. ANEW: what is in the cache
// counts only when it cannot be had.
Result<std::optional<IndexFile>> index_of(const std::string& location, const MirrorOptions& options,
                                          bool anew) {
    std::string path = location + "/APKINDEX.tar.gz";
    IndexFile index;
    if (!is_url(location)) {
        if (access(path.c_str(), F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR))
            return std::optional<IndexFile>();
        auto data = read_file(path);
        if (!data) return data.error();
        index.data = std::move(*data);
        return std::optional(std::move(index));
    }
    std::string folder = options.cache + "/alpine/index";
    if (auto done = make_folders(folder); !done) return done.error();
    index.copy = folder + "/" + hex(sha1(location)) + ".tar.gz";
    struct stat st {};
    bool there = stat(index.copy.c_str(), &st) == 0;
    index.from_before = there && !anew && std::time(nullptr) - st.st_mtime <= fresh_for;
    if (!index.from_before) {
        std::string message;
        Download result = download(path, index.copy, {.stall = options.stall}, message);
        if (result == Download::absent && !there) return std::optional<IndexFile>();
        if (result != Download::done && !there) return Error{message};
        if (result != Download::done)
            std::fprintf(stderr, "%s; using the index from before\n", message.c_str());
    }
    auto data = read_file(index.copy);
    if (!data) return data.error();
    if (!data->starts_with("\x1f\x8b")) {
        unlink(index.copy.c_str());
        return Error{"download " + path + ": not gzip; a page of a proxy or a portal?"};
    }
    index.data = std::move(*data);
    return std::optional(std::move(index));
}

} // namespace

Result<> Mirror::find_keys(const std::vector<std::string>& index_files) {
    for (const std::string& folder : options_.key_folders)
        if (auto done = keys_.trust_folder(folder); !done) return done.error();
    if (!options_.key_folders.empty()) {
        if (keys_.empty()) return Error{options_.key_folders.front() + ": has no keys (*.pub)"};
        return {};
    }
    for (const std::string& folder : options_.key_sources) {
        auto names = list_folder(folder);
        if (!names) continue;
        for (const std::string& name : *names) {
            if (!name.ends_with(".pub")) continue;
            if (auto pem = read_file(folder + "/" + name)) keys_.trust_if_pinned(name, *pem);
        }
    }
    // The keys from the mirror itself: what brings them is not verified, but a key counts only if
    // its fingerprint is known.
    for (std::size_t i = 0; i < index_files.size(); ++i) {
        auto index = read_index(index_files[i], nullptr);
        if (!index) return index.error().with_context(repositories_[i]);
        for (const IndexEntry& entry : *index) {
            if (entry.name != "alpine-keys") continue;
            if (entry.size > largest_key_package)
                return Error{repositories_[i] + ": " + entry.file_name() + " has " +
                             std::to_string(entry.size) + " bytes: no keys have that many"};
            std::string path;
            auto file = fetch_one(i, entry, path);
            if (!file && !keys_.empty()) continue; // those that are here may do
            if (!file) return file.error();
            auto found = keys_in_package(*file);
            if (!found) return found.error().with_context(path);
            for (const auto& [name, pem] : *found)
                keys_.trust_if_pinned(name, pem);
        }
    }
    if (keys_.empty())
        return Error{repositories_.front() +
                     ": has no alpine-keys package with a key of Alpine that is known; name a "
                     "folder with trusted keys in ALPINE_KEYS"};
    return {};
}

Result<Mirror> Mirror::open(const std::string& location, const MirrorOptions& options,
                            bool& reached) {
    return open_indexes(location, options, false, reached);
}

Result<Mirror> Mirror::open_indexes(const std::string& location, const MirrorOptions& options,
                                    bool anew, bool& reached) {
    Mirror mirror;
    mirror.location_ = location;
    mirror.options_ = options;
    std::string base = location;
    while (base.size() > 1 && base.ends_with('/'))
        base.pop_back();
    const std::vector<std::vector<std::string>> layouts = {
        {base + "/main/" + options.arch, base + "/community/" + options.arch},
        {base + "/" + options.branch + "/main/" + options.arch,
         base + "/" + options.branch + "/community/" + options.arch},
        {base + "/" + options.arch},
        {base},
    };
    std::vector<std::string> files, cached;
    reached = false;
    for (const auto& layout : layouts) {
        for (const std::string& repository : layout) {
            auto index = index_of(repository, options, anew);
            if (!index) {
                reached = !is_url(location);
                return index.error();
            }
            if (!*index) {
                if (files.empty()) break; // the first of a layout is the one that must be there
                continue;
            }
            mirror.repositories_.push_back(repository);
            mirror.from_before_ = mirror.from_before_ || (*index)->from_before;
            files.push_back(std::move((*index)->data));
            cached.push_back((*index)->copy);
        }
        if (!files.empty()) break;
    }
    reached = !files.empty();
    if (!reached) return Error{location + ": no APKINDEX.tar.gz there"};
    auto done = mirror.find_keys(files);
    if (done) done = mirror.read_indexes(files);
    if (done) return mirror;
    for (const std::string& copy : cached) // a broken download must not stay
        if (!copy.empty()) unlink(copy.c_str());
    if (mirror.from_before_) return open_indexes(location, options, true, reached);
    return done.error();
}

// Each index is unpacked and verified by a thread of its own.
Result<> Mirror::read_indexes(const std::vector<std::string>& files) {
    std::vector<Result<std::string>> read(files.size(), Error{"not read"});
    std::vector<std::thread> others;
    auto one = [&](std::size_t i) { read[i] = index_text(files[i], &keys_); };
    for (std::size_t i = 1; i < files.size(); ++i)
        others.emplace_back(one, i);
    one(0);
    for (std::thread& other : others)
        other.join();
    std::vector<std::string> texts, where;
    for (std::size_t i = 0; i < files.size(); ++i) {
        where.push_back(repositories_[i] + "/APKINDEX.tar.gz");
        if (!read[i]) return read[i].error().with_context(where[i]);
        texts.push_back(std::move(*read[i]));
    }
    auto catalog = Catalog::build(std::move(texts), where);
    if (!catalog) return catalog.error();
    catalog_ = std::move(*catalog);
    return {};
}

Chosen Mirror::chosen(PackageId package) {
    std::uint64_t in = catalog_->package(package).repositories;
    return {&catalog_->entry(package), static_cast<std::size_t>(std::countr_zero(in))};
}

Result<std::vector<Chosen>> Mirror::closure(const std::vector<std::string>& wanted) {
    auto found = solution(wanted);
    if (found)
        std::sort(found->begin(), found->end(),
                  [](const Chosen& a, const Chosen& b) { return a.entry->name < b.entry->name; });
    return found;
}

Result<std::vector<Chosen>> Mirror::solution(const std::vector<std::string>& wanted) {
    auto found = solve(*catalog_, wanted);
    if (!found) return found.error();
    std::vector<Chosen> out;
    for (PackageId package : *found)
        out.push_back(chosen(package));
    return out;
}

Result<Chosen> Mirror::find(const std::string& name) {
    PackageId best = nobody;
    NameId id = catalog_->find(name);
    for (const Offer& offer : id == nobody ? std::span<const Offer>() : catalog_->offers(id))
        if (offer.own &&
            (best == nobody ||
             compare_versions(offer.version, catalog_->package(best).version) == Order::greater))
            best = offer.package;
    if (best == nobody) return Error{name + ": no such package in " + repositories_.front()};
    return chosen(best);
}

// Downloads are kept by identity, so a name that comes again with another content is another file.
std::string Mirror::place_of(std::size_t repository, const IndexEntry& entry) const {
    const std::string& where = repositories_[repository];
    if (!is_url(where)) return where + "/" + entry.file_name();
    return options_.cache + "/alpine/packages/" + hex(sha1(entry.identity)).substr(0, 16) + "-" +
           entry.file_name();
}

Result<> Mirror::fetch_all(const std::vector<Chosen>& chosen, const DownloadProgress& progress,
                           bool& gone) const {
    std::vector<WantedFile> files;
    for (const Chosen& one : chosen)
        if (const std::string& where = repositories_[one.repository]; is_url(where))
            files.push_back({where + "/" + one.entry->file_name(),
                             place_of(one.repository, *one.entry), one.entry->size});
    if (files.empty()) return {};
    if (auto done = make_folders(options_.cache + "/alpine/packages"); !done) return done;
    return download_all(files, options_.stall, progress, gone);
}

Result<std::string> Mirror::fetch_one(std::size_t repository, const IndexEntry& entry,
                                      std::string& path) const {
    bool gone = false;
    path = place_of(repository, entry);
    if (!exists(path))
        if (auto done = fetch_all({{&entry, repository}}, {}, gone); !done) return done.error();
    return read_file(path);
}

Result<std::vector<Chosen>> Mirror::fetch(const Choose& choose, const DownloadProgress& progress) {
    for (;;) {
        auto chosen = choose(*this);
        if (!chosen) return chosen;
        bool gone = false;
        auto done = fetch_all(*chosen, progress, gone);
        if (done) return chosen;
        if (!gone || !from_before_) return done.error();
        bool reached = false;
        auto mirror = open_indexes(location_, options_, true, reached);
        if (!mirror) return mirror.error();
        *this = std::move(*mirror);
    }
}

Result<Package> Mirror::load_once(const Chosen& chosen, bool& from_cache) const {
    const IndexEntry& entry = *chosen.entry;
    std::string path;
    from_cache = is_url(repositories_[chosen.repository]);
    auto file = fetch_one(chosen.repository, entry, path);
    if (!file) return from_cache = false, file.error();
    auto broken = [&](const Error& error) {
        if (from_cache) unlink(path.c_str());
        return error.with_context(path);
    };
    if (file->size() != entry.size)
        return broken(Error{"is " + std::to_string(file->size()) + " bytes, the index says " +
                            std::to_string(entry.size)});
    auto package = read_package(*file, keys_);
    if (!package) return broken(package.error());
    if (package->identity != entry.identity)
        return broken(Error{"is " + package->identity + ", the index says " + entry.identity});
    if (package->info.name != entry.name || package->info.version != entry.version)
        return broken(
            Error{"is " + package->info.full_name() + ", the index says " + entry.full_name()});
    return package;
}

// What is wrong in the cache is fetched once more.
Result<Package> Mirror::load(const Chosen& chosen) const {
    bool from_cache = false;
    auto package = load_once(chosen, from_cache);
    if (package || !from_cache) return package;
    return load_once(chosen, from_cache);
}

Result<std::vector<Package>> Mirror::load_all(const std::vector<Chosen>& chosen) const {
    bool gone = false;
    if (auto done = fetch_all(chosen, {}, gone); !done) return done.error();
    std::vector<Result<Package>> loaded;
    for (std::size_t i = 0; i < chosen.size(); ++i)
        loaded.push_back(Error{"not loaded"});
    std::atomic<std::size_t> next{0};
    auto work = [&] {
        for (std::size_t i = next++; i < chosen.size(); i = next++)
            loaded[i] = load(chosen[i]);
    };
    std::vector<std::thread> others;
    unsigned count = std::min(8u, std::max(1u, std::thread::hardware_concurrency()));
    for (unsigned i = 1; i < count && i < chosen.size(); ++i)
        others.emplace_back(work);
    work();
    for (std::thread& other : others)
        other.join();
    std::vector<Package> out;
    for (Result<Package>& one : loaded) {
        if (!one) return one.error();
        out.push_back(std::move(*one));
    }
    return out;
}

std::string Mirror::record(const Chosen& chosen) const {
    NameId name = catalog_->find(chosen.entry->name);
    for (const Offer& offer : catalog_->offers(name))
        if (offer.own && catalog_->package(offer.package).identity == chosen.entry->identity)
            return std::string(catalog_->package(offer.package).record);
    return "";
}

} // namespace muster::apk
