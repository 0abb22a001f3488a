#include "initrd/image_database.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <map>

#include "alpine-packages/digest.h"
#include "alpine-packages/install_database.h"
#include "alpine-packages/repository_write.h"
#include "alpine-packages/tar_write.h"
#include "initrd/quoted.h"

namespace muster::image {
namespace {

std::string first_value(std::string_view pkginfo, std::string_view key) {
    while (!pkginfo.empty()) {
        std::size_t size = std::min(pkginfo.find('\n'), pkginfo.size());
        std::string_view line = pkginfo.substr(0, size);
        pkginfo.remove_prefix(std::min(size + 1, pkginfo.size()));
        if (line.starts_with(key) && line.substr(key.size()).starts_with(" = "))
            return std::string(line.substr(key.size() + 3));
    }
    return "";
}

std::string owner_line(char letter, const apk::Node& node) {
    std::array<char, 64> text;
    std::snprintf(text.data(), text.size(), "%c:%u:%u:%o\n", letter, node.uid, node.gid,
                  static_cast<unsigned>(node.mode & 07777));
    return text.data();
}

// The files by the folders in which they lie, with what differs from the usual.
std::string file_lines(const Installed& package, const std::map<std::string, apk::Node>& nodes) {
    std::map<std::string, std::string> folders; // lines of what is in each
    std::string out;
    for (const Installed::File& file : package.files) {
        auto found = nodes.find(file.path);
        if (found == nodes.end()) continue; // taken out of the image
        const apk::Node& node = found->second;
        if (S_ISDIR(node.mode)) {
            std::string& lines = folders[file.path];
            if (node.uid || node.gid || (node.mode & 07777) != 0755)
                lines = owner_line('M', node) + lines;
            continue;
        }
        if (node.owner != package.info.name && !node.owner.empty()) continue;
        std::size_t slash = file.path.rfind('/');
        bool top = slash == std::string::npos;
        std::string& lines = folders[top ? "" : file.path.substr(0, slash)];
        lines += "R:" + file.path.substr(top ? 0 : slash + 1) + "\n";
        bool usual = !node.uid && !node.gid && (node.mode & 07777) == 0644;
        if (!usual) lines += owner_line('a', node);
        if (!file.sha1.empty()) lines += "Z:" + apk::q1(file.sha1) + "\n";
    }
    for (const auto& [folder, lines] : folders)
        out += "F:" + folder + "\n" + lines;
    return out;
}

// Whether it can stand as a licence expression; what packages say is not always one.
bool is_expression(std::string_view licence) {
    constexpr std::string_view letters =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-+() ";
    if (licence.empty() || licence.find_first_not_of(letters) != licence.npos) return false;
    // names next to each other need AND, OR or WITH between
    bool name = false;
    while (!licence.empty()) {
        std::size_t size = std::min(licence.find(' '), licence.size());
        std::string_view word = licence.substr(0, size);
        licence.remove_prefix(std::min(size + 1, licence.size()));
        bool joins = word == "AND" || word == "OR" || word == "WITH";
        if (joins != name) return false;
        name = !joins;
    }
    return name;
}

std::string spdx_package(const std::string& id, const std::string& name, const std::string& version,
                         const std::string& licence, const std::string& url,
                         const std::string& comment, const std::string& purl) {
    return "    {\n      \"SPDXID\": " + quoted(id) + ",\n      \"name\": " + quoted(name) +
           ",\n      \"versionInfo\": " + quoted(version) +
           ",\n      \"downloadLocation\": \"NOASSERTION\",\n      \"filesAnalyzed\": false" +
           (url.empty() ? "" : ",\n      \"homepage\": " + quoted(url)) +
           ",\n      \"licenseConcluded\": \"NOASSERTION\",\n      \"licenseDeclared\": " +
           (is_expression(licence) ? quoted(licence) : "\"NOASSERTION\"") +
           (comment.empty() ? "" : ",\n      \"comment\": " + quoted(comment)) +
           ",\n      \"copyrightText\": \"NOASSERTION\",\n      \"externalRefs\": [{\n"
           "        \"referenceCategory\": \"PACKAGE-MANAGER\",\n"
           "        \"referenceType\": \"purl\",\n        \"referenceLocator\": " +
           quoted(purl) + "\n      }]\n    }";
}

} // namespace

Installed remember(const apk::Package& package, std::uint64_t size, const std::string& arch) {
    Installed out;
    out.info = package.info;
    out.identity = package.identity;
    std::string_view info = package.control.front().data;
    out.licence = first_value(info, "license");
    out.description = first_value(info, "pkgdesc");
    out.url = first_value(info, "url");
    out.triggers = first_value(info, "triggers");
    out.record = apk::record_of(info, package.identity, size, arch);
    for (const apk::TarEntry& entry : package.control)
        if (entry.path != ".PKGINFO")
            out.scripts.push_back({entry.path.substr(1), std::string(entry.data)});
    for (const apk::TarEntry& entry : package.files)
        out.files.push_back({entry.path, apk::installed_sum(package, entry)});
    return out;
}

Result<> add_database(apk::Tree& tree, const std::vector<Installed>& packages,
                      const std::vector<std::string>& world, const std::string& arch) {
    std::string installed, triggers;
    apk::TarWriter scripts(0);
    for (const Installed& package : packages) {
        std::string replaces;
        for (const std::string& word : package.info.replaces)
            replaces += (replaces.empty() ? "r:" : " ") + word;
        installed += package.record + (replaces.empty() ? "" : replaces + "\n") +
                     file_lines(package, tree.nodes()) + "\n";
        if (!package.triggers.empty()) triggers += package.identity + " " + package.triggers + "\n";
        for (const Installed::Script& script : package.scripts)
            scripts.add(
                {.path = package.info.full_name() + "." + package.identity + "." + script.kind,
                 .mode = 0755,
                 .data = script.text});
    }
    std::vector<std::string> wanted = world;
    std::sort(wanted.begin(), wanted.end());
    wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
    std::string lines;
    for (const std::string& word : wanted)
        lines += word + "\n";
    struct File {
        const char* path;
        std::string text;
    };
    const std::array<File, 6> files = {{{"/lib/apk/db/installed", installed},
                                        {"/lib/apk/db/triggers", triggers},
                                        {"/lib/apk/db/scripts.tar", scripts.take(true)},
                                        {"/lib/apk/db/lock", ""},
                                        {"/etc/apk/world", lines},
                                        {"/etc/apk/arch", arch + "\n"}}};
    for (const File& file : files)
        if (auto done = tree.add_text(file.text, file.path, 0644); !done) return done;
    return {};
}

std::string bill_of_materials(const std::vector<Installed>& packages,
                              const std::vector<Other>& others, const std::string& name,
                              const std::string& id, std::int64_t epoch, const std::string& arch) {
    std::time_t time = epoch;
    std::tm broken{};
    gmtime_r(&time, &broken);
    std::array<char, 32> date;
    std::strftime(date.data(), date.size(), "%Y-%m-%dT%H:%M:%SZ", &broken);
    std::string out =
        "{\n  \"spdxVersion\": \"SPDX-2.3\",\n  \"dataLicense\": \"CC0-1.0\",\n"
        "  \"SPDXID\": \"SPDXRef-DOCUMENT\",\n  \"name\": " +
        quoted(name) +
        ",\n  \"documentNamespace\": " + quoted("https://spdx.org/spdxdocs/" + name + "-" + id) +
        ",\n  \"creationInfo\": {\n    \"created\": " + quoted(date.data()) +
        ",\n    \"creators\": [\"Tool: muster-make-image\"]\n  },\n  \"packages\": [\n";
    std::string relations;
    int number = 0;
    auto add = [&](const std::string& text, const std::string& reference) {
        out += (number > 1 ? ",\n" : "") + text;
        relations += std::string(number > 1 ? ",\n" : "") +
                     "    {\"spdxElementId\": \"SPDXRef-DOCUMENT\", \"relationshipType\": "
                     "\"DESCRIBES\", \"relatedSpdxElement\": " +
                     quoted(reference) + "}";
    };
    for (const Installed& package : packages) {
        std::string reference = "SPDXRef-" + std::to_string(++number);
        std::string from = package.info.origin == "muster" ? "generic" : "apk/alpine";
        add(spdx_package(reference, package.info.name, package.info.version, package.licence,
                         package.url, "apk identity " + package.identity,
                         "pkg:" + from + "/" + package.info.name + "@" + package.info.version +
                             "?arch=" + arch),
            reference);
    }
    for (const Other& other : others) {
        std::string reference = "SPDXRef-" + std::to_string(++number);
        add(spdx_package(reference, other.name, other.version, "", "", "", other.purl), reference);
    }
    return out + "\n  ],\n  \"relationships\": [\n" + relations + "\n  ]\n}\n";
}

} // namespace muster::image
