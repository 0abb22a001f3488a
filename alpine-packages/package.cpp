#include "alpine-packages/package.h"

#include <algorithm>

#include "alpine-packages/gzip.h"

namespace muster::apk {
namespace {

// Bytes, unpacked.
constexpr std::size_t largest_signature = 1 << 20;
constexpr std::size_t largest_control = 64 << 20;
constexpr std::size_t largest_package = std::size_t{2} << 30;
constexpr std::size_t largest_keys = 4 << 20; // of a package that nobody vouches for

void add_words(std::string_view text, std::vector<std::string>& out) {
    while (!text.empty()) {
        std::size_t size = std::min(text.find(' '), text.size());
        if (size > 0) out.emplace_back(text.substr(0, size));
        text.remove_prefix(std::min(size + 1, text.size()));
    }
}

// Each regular file and each symbolic link's text against the check sum in its header.
Result<> check_sums(const std::vector<TarEntry>& files) {
    for (const TarEntry& entry : files) {
        if (entry.kind == FileKind::file) {
            if (entry.sha1.empty()) return Error{entry.path + ": has no check sum"};
            if (sha1(entry.data) != entry.sha1) return Error{entry.path + ": check sum is wrong"};
        }
        if (entry.kind == FileKind::symlink && !entry.sha1.empty() &&
            sha1(entry.target) != entry.sha1)
            return Error{entry.path + ": check sum of the link is wrong"};
    }
    return {};
}

} // namespace

Result<PackageInfo> parse_pkginfo(std::string_view text) {
    PackageInfo info;
    int number = 0;
    while (!text.empty()) {
        ++number;
        std::size_t size = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, size);
        text.remove_prefix(std::min(size + 1, text.size()));
        if (line.empty() || line.front() == '#') continue;
        std::size_t equals = line.find(" = ");
        if (equals == std::string_view::npos)
            return Error{".PKGINFO line " + std::to_string(number) + ": not \"key = value\""};
        std::string_view key = line.substr(0, equals), value = line.substr(equals + 3);
        if (key == "pkgname") info.name = value;
        if (key == "pkgver") info.version = value;
        if (key == "arch") info.arch = value;
        if (key == "origin") info.origin = value;
        if (key == "datahash") info.datahash = value;
        if (key == "depend") info.depends.emplace_back(value);
        if (key == "provides") info.provides.emplace_back(value);
        if (key == "replaces") add_words(value, info.replaces);
        if (key == "replaces_priority") info.replaces_priority = value;
        if (key == "triggers") add_words(value, info.triggers);
    }
    if (info.name.empty() || info.version.empty()) return Error{".PKGINFO: no name or no version"};
    return info;
}

Result<> check_signature(std::string_view signature, std::string_view signed_bytes,
                         const KeyRing& keys) {
    auto entries = read_tar(signature, false);
    if (!entries) return entries.error().with_context("signature");
    struct Way {
        std::string_view prefix;
        const char* digest;
    };
    constexpr Way ways[] = {
        {".SIGN.RSA256.", "sha256"}, {".SIGN.RSA512.", "sha512"}, {".SIGN.RSA.", "sha1"}};
    std::string unknown;
    for (const TarEntry& entry : *entries) {
        if (!entry.path.starts_with(".SIGN.") || entry.kind != FileKind::file)
            return Error{"unsigned: the first part has " + entry.path};
        for (const Way& way : ways) {
            if (!entry.path.starts_with(way.prefix)) continue;
            std::string name = entry.path.substr(way.prefix.size());
            const PublicKey* key = keys.find(name);
            if (!key) {
                unknown += (unknown.empty() ? "" : ", ") + name;
                break;
            }
            if (key->verifies(signed_bytes, entry.data, way.digest)) return {};
            return Error{"BAD signature by " + name};
        }
    }
    if (unknown.empty()) return Error{"unsigned"};
    return Error{"signed by a key that is not trusted: " + unknown};
}

Result<Package> read_package(std::string_view file, const KeyRing& keys) {
    // Where the control part ends is known when it is unpacked. The data part, which may be large,
    // is unpacked only when it is verified.
    std::string_view rest = file;
    auto signature = take_gzip(rest, largest_signature);
    if (!signature) return signature.error().with_context("gzip member 1");
    auto control = take_gzip(rest, largest_control);
    if (!control) return control.error().with_context("gzip member 2");
    if (rest.empty())
        return Error{"2 gzip members where a signed package has 3 (signature, control, data)"};
    if (auto good = check_signature(signature->data, control->compressed, keys); !good)
        return good.error();

    Package package;
    package.identity = q1(sha1(control->compressed));
    package.control_data_ = std::move(control->data);
    auto control_entries = read_tar(package.control_data_, false);
    if (!control_entries) return control_entries.error().with_context("control");
    package.control = std::move(*control_entries);
    if (package.control.empty() || package.control.front().path != ".PKGINFO")
        return Error{"control: does not begin with .PKGINFO"};
    auto info = parse_pkginfo(package.control.front().data);
    if (!info) return info.error();
    package.info = std::move(*info);

    if (package.info.datahash.empty()) return Error{".PKGINFO: no datahash"};
    if (hex(sha256(rest)) != package.info.datahash)
        return Error{"data: check sum is not the one in .PKGINFO"};
    auto data = take_gzip(rest, largest_package);
    if (!data) return data.error().with_context("gzip member 3");
    if (!rest.empty()) return Error{"data: more than one gzip member"};
    package.data_ = std::move(data->data);
    auto files = read_tar(package.data_, true);
    if (!files) return files.error().with_context("data");
    if (auto good = check_sums(*files); !good) return good.error().with_context("data");
    package.files = std::move(*files);
    std::erase_if(package.files, [](const TarEntry& entry) { return entry.path.front() == '.'; });
    return package;
}

Result<std::vector<std::pair<std::string, std::string>>> keys_in_package(std::string_view file) {
    auto members = split_gzip(file, largest_keys);
    if (!members) return members.error();
    if (members->size() != 3) return Error{"not a package of three parts"};
    auto entries = read_tar(members->back().data, true);
    if (!entries) return entries.error();
    std::vector<std::pair<std::string, std::string>> keys;
    for (const TarEntry& entry : *entries) {
        std::size_t slash = entry.path.rfind('/');
        if (entry.kind != FileKind::file || slash == std::string::npos) continue;
        if (entry.path.ends_with(".pub") && entry.path.find("apk/keys/") != std::string::npos)
            keys.emplace_back(entry.path.substr(slash + 1), entry.data);
    }
    return keys;
}

} // namespace muster::apk
