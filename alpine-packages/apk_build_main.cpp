// apk_build: packages and indexes of our own, signed. What abuild and `apk index` do on Alpine.
#include <cstdio>
#include <string>
#include <vector>

#include "alpine-packages/command_line.h"
#include "alpine-packages/files.h"
#include "alpine-packages/package_write.h"
#include "alpine-packages/repository_write.h"

namespace muster::apk {
namespace {

constexpr const char* usage =
    "usage: apk_build package OPTION...\n"
    "       apk_build index OPTION... PACKAGE-FILE...\n"
    "  --key FILE           private RSA key in PEM; its public half is known as NAME.pub\n"
    "  --output FILE        the package or the index\n"
    "  --info FILE          of a package: the lines of its .PKGINFO\n"
    "  --files FOLDER       of a package: what is to be installed\n"
    "  --scripts FOLDER     of a package: NAME.post-install and the like\n"
    "  --arch NAME          of an index: the folder that it is for (x86_64)\n"
    "  --description TEXT   of an index\n"
    "SOURCE_DATE_EPOCH is the time of everything (0).\n"
    "exit: 0, 1 something is wrong with what was given, 2 usage\n";

struct Arguments {
    std::string command, key, output, info, arch = "x86_64", description;
    PackageParts parts;
    std::vector<std::string> files;
};

Result<Arguments> parse(Words words) {
    Arguments out;
    if (!words.next()) return Error{"no command"};
    out.command = words.word();
    while (words.next()) {
        std::string name = words.word();
        if (!words.is_option()) {
            out.files.push_back(name);
            continue;
        }
        auto given = words.value();
        if (!given) return given.error();
        const std::string& value = *given;
        if (name == "--key")
            out.key = value;
        else if (name == "--output")
            out.output = value;
        else if (name == "--info")
            out.info = value;
        else if (name == "--files")
            out.parts.files = value;
        else if (name == "--scripts")
            out.parts.scripts = value;
        else if (name == "--arch")
            out.arch = value;
        else if (name == "--description")
            out.description = value;
        else
            return Error{name + ": no such option"};
    }
    if (out.command != "package" && out.command != "index") return Error{"no such command"};
    if (out.key.empty() || out.output.empty()) return Error{"needs --key and --output"};
    if ((out.command == "package") == out.info.empty()) return Error{"--info is for packages"};
    if (out.command == "package" && !out.files.empty())
        return Error{out.files[0] + ": a package takes no names"};
    return out;
}

Result<std::string> make(Arguments& arguments, const PrivateKey& key, std::int64_t mtime) {
    if (arguments.command == "package") {
        auto info = read_file(arguments.info);
        if (!info) return info.error();
        arguments.parts.info = std::move(*info);
        arguments.parts.mtime = mtime;
        return write_package(arguments.parts, key);
    }
    std::vector<std::string> records;
    for (const std::string& name : arguments.files) {
        auto file = read_file(name);
        if (!file) return file.error();
        auto record = index_record(*file, arguments.arch);
        if (!record) return record.error().with_context(name);
        records.push_back(std::move(*record));
    }
    return write_index(records, arguments.description, mtime, key);
}

Result<Exit> run(Arguments& arguments) {
    auto pem = read_file(arguments.key);
    if (!pem) return pem.error();
    std::string name = arguments.key.substr(arguments.key.rfind('/') + 1) + ".pub";
    auto key = PrivateKey::from_pem(*pem, name);
    if (!key) return key.error().with_context(arguments.key);
    auto bytes = make(arguments, *key, source_date_epoch());
    if (!bytes) return bytes.error();
    if (auto done = write_file(arguments.output, *bytes); !done) return done.error();
    return good;
}

} // namespace
} // namespace muster::apk

int main(int argc, char** argv) {
    using namespace muster::apk;
    return run_tool(argc, argv, "apk_build", usage, parse, run);
}
