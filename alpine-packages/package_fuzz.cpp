// Every reader of a package and an index, on anything. The first byte says what the rest is:
//   r  the bytes of a package, of an index
//   t  the blocks of its control part (one byte), its control part and its data as tar archives
//   p  .PKGINFO and entries, of which the archives are made
//   i  the text of an index, or of two with a form feed between
//   w  a dependency, two versions
// Of t, p and i the harness makes what passes for a package or an index: check sums, compression,
// signature. So what is wrong in there is met by the code behind them.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "alpine-packages/catalog.h"
#include "alpine-packages/gzip.h"
#include "alpine-packages/index.h"
#include "alpine-packages/install_database.h"
#include "alpine-packages/package.h"
#include "alpine-packages/repository_write.h"
#include "alpine-packages/solver.h"
#include "alpine-packages/tar.h"
#include "alpine-packages/test_package.h"
#include "alpine-packages/tree.h"
#include "alpine-packages/version.h"

using namespace muster::apk;

namespace {

constexpr std::size_t block = 512;
constexpr const char* key_name = "fuzz.rsa.pub";

void must(bool so) {
    if (!so) __builtin_trap();
}

// The smallest key that libcrypto makes: it protects nothing, and is fast.
const test::Signer& signer() {
    static const test::Signer one(512);
    return one;
}

const KeyRing& keys() {
    static const KeyRing ring = [] {
        KeyRing out;
        must(out.trust(key_name, signer().public_pem()).ok());
        return out;
    }();
    return ring;
}

std::string signed_with_our_key(const std::string& member) {
    return signer().sign(member, key_name) + member;
}

// Takes what is before END, or all.
std::string take_until(std::string_view& text, char end) {
    std::size_t size = std::min(text.find(end), text.size());
    std::string out(text.substr(0, size));
    text.remove_prefix(std::min(size + 1, text.size()));
    return out;
}

void put_sum(std::string& tar, std::size_t at) {
    std::fill_n(tar.begin() + static_cast<std::ptrdiff_t>(at + 148), 8, ' ');
    unsigned sum = 0;
    for (std::size_t i = at; i < at + block; ++i)
        sum += static_cast<unsigned char>(tar[i]);
    std::array<char, 8> text;
    std::snprintf(text.data(), text.size(), "%06o", sum);
    std::copy(text.begin(), text.end(), tar.begin() + static_cast<std::ptrdiff_t>(at + 148));
}

// The check sums of headers, and of files where there is one.
std::string repaired(std::string_view archive) {
    std::string tar(archive);
    constexpr std::string_view keyword = "APK-TOOLS.checksum.SHA1=";
    std::size_t sum = tar.npos; // where that of the next file is
    for (std::size_t at = 0; at + block <= tar.size();) {
        if (tar.find_first_not_of('\0', at) >= at + block) break;
        put_sum(tar, at);
        char type = tar[at + 156];
        std::size_t size = std::strtoull(tar.substr(at + 124, 12).c_str(), nullptr, 8);
        if (type == '1' || type == '2' || type == '5') size = 0;
        std::size_t data = at + block;
        if (size > tar.size() - data) break;
        if (type == 'x') {
            std::size_t found = tar.find(keyword, data);
            if (found != tar.npos && found + keyword.size() + 40 <= data + size)
                sum = found + keyword.size();
        } else if (sum != tar.npos) {
            std::string what = tar.substr(data, size);
            if (type == '2') what = tar.substr(at + 157, 100).c_str();
            tar.replace(sum, 40, hex(sha1(what)));
            sum = tar.npos;
        }
        at = data + (size + block - 1) / block * block;
    }
    return tar;
}

std::string package_of(std::string control, const std::string& data) {
    std::string members = test::gzip(data);
    constexpr std::string_view keyword = "datahash = ";
    std::size_t at = control.find(keyword);
    if (at != control.npos && at + keyword.size() + 64 <= control.size())
        control.replace(at + keyword.size(), 64, hex(sha256(members)));
    return signed_with_our_key(test::gzip(control)) + members;
}

// TYPE PATH 0 TARGET 0 KEY=VALUE\n... 0 DATA 0
test::Entry take_entry(std::string_view& text) {
    test::Entry out{.path = "", .type = text.front()};
    text.remove_prefix(1);
    out.path = take_until(text, '\0');
    out.target = take_until(text, '\0');
    std::string extended = take_until(text, '\0');
    out.data = take_until(text, '\0');
    for (std::string_view rest = extended; !rest.empty();) {
        std::string value = take_until(rest, '\n'), key = value.substr(0, value.find('='));
        value.erase(0, key.size() + 1);
        if (key == "mode")
            out.mode = static_cast<unsigned>(std::strtoul(value.c_str(), nullptr, 8)) & 07777777;
        else if (key == "user")
            out.user = value.substr(0, 32);
        else if (key == "group")
            out.group = value.substr(0, 32);
        else
            out.extended.emplace_back(key, value);
    }
    return out;
}

// The .PKGINFO, then the other entries of the control part, '|', and those of the data.
std::string package_of_entries(std::string_view text) {
    std::string info = take_until(text, '\0') + "\ndatahash = " + std::string(64, '0') + "\n";
    std::vector<test::Entry> control = {{.path = ".PKGINFO", .data = info, .sum = false}}, data;
    bool scripts = true;
    while (!text.empty()) {
        if (scripts && text.front() == '|') {
            scripts = false;
            text.remove_prefix(1);
            continue;
        }
        (scripts ? control : data).push_back(take_entry(text));
        if (scripts) control.back().sum = false;
    }
    return package_of(repaired(test::tar(control, false)), repaired(test::tar(data, true)));
}

void use_package(const std::string& file) {
    (void)keys_in_package(file).ok();
    auto package = read_package(file, keys());
    if (!package) return;
    std::vector<InstalledFile> installed;
    for (const TarEntry& entry : package->files) {
        std::string normal;
        must(refuse_path(entry.path, normal).empty() && normal == entry.path);
        installed.push_back({&entry, entry.uid, entry.gid, true});
    }
    auto record = index_record(file, package->info.arch);
    if (record) {
        (void)parse_record(*record).ok();
        (void)parse_index(*record + *record).ok();
        (void)installed_record(*record, *package, installed, false);
    }
    (void)read_tar(installed_scripts({&*package}), true).ok();
    Tree tree;
    if (!tree.add_package(std::move(*package))) return;
    (void)tree.add_busybox_applets().ok();
    if (tree.finish()) must(to_cpio(tree).ok());
}

void use_index(std::string_view text) {
    std::vector<std::string> texts;
    while (!text.empty() && texts.size() < 2)
        texts.push_back(take_until(text, '\f'));
    for (const std::string& one : texts) {
        std::string file = signed_with_our_key(
            test::gzip(test::tar({{.path = "APKINDEX", .data = one, .sum = false}}, true)));
        auto read = index_text(file, &keys());
        must(read && *read == one);
        (void)parse_index(one).ok();
    }
    auto catalog = Catalog::build(texts, std::vector<std::string>(texts.size(), "x"));
    if (!catalog) return;
    std::vector<std::string> wanted;
    for (PackageId id = 0; id < catalog->package_count() && id < 8; ++id)
        wanted.emplace_back(catalog->name(catalog->package(id).name));
    auto solution = solve(*catalog, wanted);
    if (!solution) return;
    for (PackageId id : *solution)
        must(catalog->entry(id).name == catalog->name(catalog->package(id).name));
}

void use_words(std::string_view data) {
    if (auto dependency = parse_dependency(data); dependency.ok()) {
        must(parse_dependency(dependency->text()).ok());
        (void)dependency->allows("1.2_rc3-r4");
    }
    std::string_view a = data.substr(0, data.size() / 2), b = data.substr(data.size() / 2);
    if (version_is_valid(a) && version_is_valid(b))
        must((compare_versions(a, b) == Order::less) == (compare_versions(b, a) == Order::greater));
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    std::string_view data(reinterpret_cast<const char*>(bytes), size);
    if (data.empty()) return 0;
    char kind = data.front();
    data.remove_prefix(1);
    switch (kind) {
    case 'r':
        (void)split_gzip(data, 1 << 20).ok();
        (void)read_tar(data, true).ok();
        (void)read_tar(data, false).ok();
        (void)index_text(data, nullptr).ok();
        (void)parse_pkginfo(data).ok();
        use_package(std::string(data));
        break;
    case 't': {
        if (data.empty()) break;
        std::size_t control = static_cast<unsigned char>(data.front()) * block;
        data.remove_prefix(1);
        control = std::min(control, data.size());
        use_package(package_of(repaired(data.substr(0, control)), repaired(data.substr(control))));
        break;
    }
    case 'p':
        use_package(package_of_entries(data));
        break;
    case 'i':
        use_index(data);
        break;
    case 'w':
        use_words(data);
        break;
    default:
        break;
    }
    return 0;
}
