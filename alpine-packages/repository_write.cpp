#include "alpine-packages/repository_write.h"

#include <algorithm>
#include <map>

#include "alpine-packages/digest.h"
#include "alpine-packages/gzip.h"
#include "alpine-packages/package.h"
#include "alpine-packages/tar.h"
#include "alpine-packages/tar_write.h"

namespace muster::apk {
namespace {

constexpr std::size_t largest_package = 1u << 30; // bytes, unpacked

// The values of each key of .PKGINFO, those that repeat with a space between.
std::map<std::string, std::string> values_of(std::string_view text) {
    std::map<std::string, std::string> out;
    while (!text.empty()) {
        std::size_t size = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, size);
        text.remove_prefix(std::min(size + 1, text.size()));
        if (line.empty() || line.front() == '#') continue;
        std::size_t equals = line.find(" = ");
        if (equals == std::string_view::npos) continue; // the reader of packages has refused it
        std::string& value = out[std::string(line.substr(0, equals))];
        if (!value.empty()) value += ' ';
        value += line.substr(equals + 3);
    }
    return out;
}

} // namespace

std::string record_of(std::string_view pkginfo, const std::string& identity, std::uint64_t size,
                      const std::string& arch) {
    auto values = values_of(pkginfo);
    std::string out = "C:" + identity + "\n";
    auto line = [&](const char* letter, const std::string& value) {
        if (!value.empty()) out += std::string(letter) + ":" + value + "\n";
    };
    line("P", values["pkgname"]);
    line("V", values["pkgver"]);
    line("A", arch);
    line("S", std::to_string(size));
    line("I", values["size"]);
    line("T", values["pkgdesc"]);
    line("U", values["url"]);
    line("L", values["license"]);
    line("o", values["origin"]);
    line("m", values["maintainer"]);
    line("t", values["builddate"]);
    line("c", values["commit"]);
    line("k", values["provider_priority"]);
    line("D", values["depend"]);
    line("p", values["provides"]);
    line("i", values["install_if"]);
    return out;
}

Result<std::string> index_record(std::string_view file, const std::string& arch) {
    auto members = split_gzip(file, largest_package);
    if (!members) return members.error();
    if (members->size() != 3) return Error{"not three gzip members"};
    const GzipMember& control = (*members)[1];
    auto entries = read_tar(control.data, false);
    if (!entries) return entries.error();
    if (entries->empty() || entries->front().path != ".PKGINFO") return Error{"no .PKGINFO"};
    auto info = parse_pkginfo(entries->front().data);
    if (!info) return info.error();
    if (info->arch != arch && info->arch != "noarch")
        return Error{"is for " + info->arch + ", not for " + arch};
    return record_of(entries->front().data, q1(sha1(control.compressed)), file.size(), arch) + "\n";
}

Result<std::string> write_index(const std::vector<std::string>& records,
                                const std::string& description, std::int64_t mtime,
                                const PrivateKey& key) {
    std::string text;
    for (const std::string& record : records)
        text += record;
    TarWriter tar(mtime);
    tar.add({.path = "DESCRIPTION", .data = description});
    tar.add({.path = "APKINDEX", .data = text});
    std::string index = compress_gzip(tar.take(true));
    auto signature = key.signature_member(index);
    if (!signature) return signature.error();
    return *signature + index;
}

} // namespace muster::apk
