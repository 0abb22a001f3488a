// image_tree: what is in an image, from its description; initrd/image makes the disk of it.
#include <sys/stat.h>

#include <cstdio>
#include <string>
#include <vector>

#include "alpine-packages/command_line.h"
#include "alpine-packages/digest.h"
#include "alpine-packages/files.h"
#include "alpine-packages/repository.h"
#include "alpine-packages/tree.h"
#include "initrd/ext4_script.h"
#include "initrd/image_database.h"
#include "initrd/image_description.h"
#include "initrd/image_settings.h"

namespace muster::image {
namespace {

constexpr const char* usage =
    "usage: image_tree OPTION...\n"
    "  --description FILE   what is in the image\n"
    "  --own FOLDER         our packages, with the keys in FOLDER/../keys\n"
    "  --modules FOLDER     goes to /lib/modules\n"
    "  --initrd FILE        packages.txt of the initrd that stands beside the root on a disk\n"
    "  --other \"NAME VERSION PURL\"  something in the image that is no package of Alpine's\n"
    "  --mirror LOCATION, --branch NAME, --arch NAME, --cache FOLDER, --stall SECONDS, --keys "
    "FOLDER,\n"
    "  --key-source FOLDER  as for apk_image\n"
    "  --output FOLDER      there come packages.txt, spdx.json, and debugfs with contents/, or\n"
    "                       root.cpio for an image in memory\n"
    "Facts about the disk, for a shell, go to stdout, and it is closed, before all is unpacked.\n"
    "SOURCE_DATE_EPOCH is the time of our own files (0).\n"
    "exit: 0, 1 something is wrong with what was given, 2 usage\n";

struct Arguments {
    std::string description, own, modules, mirror, output, initrd;
    apk::MirrorOptions options;
    std::vector<Other> others;
    std::int64_t epoch = apk::source_date_epoch();
};

Result<Other> parse_other(const std::string& value) {
    std::size_t first = value.find(' ');
    std::size_t second = first == value.npos ? first : value.find(' ', first + 1);
    if (second == value.npos) return Error{"--other " + value + ": needs three parts"};
    return Other{value.substr(0, first), value.substr(first + 1, second - first - 1),
                 value.substr(second + 1)};
}

Result<Arguments> parse(apk::Words words) {
    Arguments out;
    while (words.next()) {
        std::string name = words.word();
        auto given = words.value();
        if (!given) return given.error();
        const std::string& value = *given;
        if (name == "--description")
            out.description = value;
        else if (name == "--own")
            out.own = value;
        else if (name == "--modules")
            out.modules = value;
        else if (name == "--mirror")
            out.mirror = value;
        else if (out.options.take(name, value))
            continue;
        else if (name == "--initrd")
            out.initrd = value;
        else if (name == "--output")
            out.output = value;
        else if (name == "--other") {
            auto other = parse_other(value);
            if (!other) return other.error();
            out.others.push_back(*other);
        } else
            return Error{name + ": no such option"};
    }
    for (const std::string* needed : {&out.description, &out.own, &out.mirror, &out.output})
        if (needed->empty()) return Error{"needs --description, --own, --mirror and --output"};
    return out;
}

struct Image {
    apk::Tree tree;
    std::vector<Installed> installed;
};

Result<> add_package(Image& image, apk::Package package, std::uint64_t size,
                     const Arguments& arguments) {
    image.installed.push_back(remember(package, size, arguments.options.arch));
    return image.tree.add_package(std::move(package));
}

// A package of ours, and the size of its file.
struct Own {
    apk::Package package;
    std::uint64_t size = 0;
};

// What the package muster-init does when apk installs it, and its key for the image's own apk.
constexpr const char* own_packages[] = {"muster-", "muster-config-", "muster-init-"};

Result<std::vector<Own>> load_own(const Arguments& arguments) {
    std::vector<Own> out;
    apk::KeyRing keys;
    if (auto done = keys.trust_folder(arguments.own + "/../keys"); !done) return done.error();
    auto names = apk::list_folder(arguments.own);
    if (!names) return names.error();
    for (const char* wanted : own_packages) {
        for (const std::string& name : *names) {
            std::size_t size = std::string_view(wanted).size();
            if (!name.starts_with(wanted) || !name.ends_with(".apk") || name.size() <= size ||
                name[size] < '0' || name[size] > '9')
                continue;
            auto file = apk::read_file(arguments.own + "/" + name);
            if (!file) return file.error();
            auto package = apk::read_package(*file, keys);
            if (!package) return package.error().with_context(name);
            out.push_back({std::move(*package), file->size()});
        }
    }
    return out;
}

Result<> add_own(Image& image, std::vector<Own> packages, const Arguments& arguments) {
    for (Own& one : packages)
        if (auto done = add_package(image, std::move(one.package), one.size, arguments); !done)
            return done;
    std::string key_folder = arguments.own + "/../keys";
    auto key_names = apk::list_folder(key_folder);
    if (!key_names) return key_names.error();
    for (const std::string& name : *key_names)
        if (auto done = image.tree.add_host(key_folder + "/" + name, "/etc/apk/keys/" + name, 0644);
            !done)
            return done;
    for (std::string name : {"halt", "poweroff", "reboot", "shutdown", "telinit"})
        if (auto done = image.tree.add_link("/usr/bin/muster", "/sbin/" + name); !done) return done;
    return image.tree.add_link("/usr/libexec/muster/init", "/sbin/init");
}

// The packages of the initrd, but for those that are in LIST, which are in the root as well.
Result<> add_initrd(std::vector<Other>& others, const Arguments& arguments,
                    const std::string& list) {
    auto text = apk::read_file(arguments.initrd);
    if (!text) return text.error();
    for (std::size_t at = 0, end; at < text->size(); at = end + 1) {
        end = std::min(text->find('\n', at), text->size());
        std::string line = text->substr(at, end - at), full = line.substr(0, line.find('\t'));
        if (full.empty() || ("\n" + list).find("\n" + line + "\n") != list.npos) continue;
        // name-version-rN
        std::size_t dash = full.rfind('-', full.rfind('-') - 1);
        if (dash == full.npos || dash == 0)
            return Error{arguments.initrd + ": " + full + ": not a package and its version"};
        Other one{full.substr(0, dash), full.substr(dash + 1), ""};
        one.purl =
            "pkg:apk/alpine/" + one.name + "@" + one.version + "?arch=" + arguments.options.arch;
        others.push_back(std::move(one));
    }
    return {};
}

// 8-4-4-4-12 hexadecimal digits from a hash of SEED, marked as made from a name.
std::string uuid_of(const std::string& seed) {
    std::string digits = apk::hex(apk::sha256(seed)).substr(0, 32);
    digits[12] = '8'; // RFC 9562: of nobody's scheme but ours
    digits[16] = '8';
    return digits.substr(0, 8) + "-" + digits.substr(8, 4) + "-" + digits.substr(12, 4) + "-" +
           digits.substr(16, 4) + "-" + digits.substr(20);
}

// What the disk is made with, to stdout, which is closed then: whoever reads it need not wait for
// the rest. COUNT packages are in there.
Result<> tell_facts(const Description& description, const std::string& seed, std::size_t count) {
    std::string keep;
    for (const std::string& folder : description.keep)
        keep += (keep.empty() ? "" : ",") + folder;
    std::string root = uuid_of(seed + "root"), words = "root=UUID=" + root + " rw";
    if (description.in_memory) words = "root=memory muster.keep=UUID=" + root + ":" + keep;
    if (!description.kernel.empty()) words += " " + description.kernel;
    if (words.find('\'') != words.npos) return Error{"kernel: a word with ' in it"};
    std::string facts = "layout=" + std::string(description.in_memory ? "memory" : "disk") +
                        "\nsize=" + std::to_string(description.size) + "\nroot_uuid=" + root +
                        "\ndisk_uuid=" + uuid_of(seed + "disk") +
                        "\nesp_uuid=" + uuid_of(seed + "esp") +
                        "\npart_uuid=" + uuid_of(seed + "part") +
                        "\npackages=" + std::to_string(count) + "\nwords='" + words + "'\n";
    std::fputs(facts.c_str(), stdout);
    if (std::fclose(stdout) != 0) return Error{"stdout cannot be written"};
    return {};
}

Result<> write_all(const Image& image, const Arguments& arguments, const std::vector<Other>& others,
                   const Description& description, const std::string& list,
                   const std::string& seed) {
    const std::string& out = arguments.output;
    if (auto done = apk::write_file(out + "/packages.txt", list); !done) return done;
    std::string bill = bill_of_materials(image.installed, others, "muster-image",
                                         apk::hex(apk::sha256(seed)).substr(0, 16), arguments.epoch,
                                         arguments.options.arch);
    if (auto done = apk::write_file(out + "/spdx.json", bill); !done) return done;
    if (description.in_memory) {
        auto archive = apk::to_cpio(image.tree);
        if (!archive) return archive.error();
        return apk::write_file(out + "/root.cpio", *archive);
    }
    if (auto done = apk::make_folders(out + "/contents"); !done) return done;
    std::uint64_t needed = ext4_needs(image.tree);
    if (needed > description.size)
        return Error{arguments.description + ": size " + std::to_string(description.size >> 20) +
                     "M is too small: what is in the image needs " + std::to_string(needed >> 20) +
                     "M"};
    auto script = ext4_script(image.tree, out + "/contents", arguments.epoch);
    if (!script) return script.error();
    return apk::write_file(out + "/debugfs", *script);
}

Result<apk::Exit> run(const Arguments& arguments) {
    auto text = apk::read_file(arguments.description);
    if (!text) return text.error();
    std::size_t slash = arguments.description.rfind('/');
    auto description = parse_description(
        *text, arguments.description,
        slash == std::string::npos ? "." : arguments.description.substr(0, slash));
    if (!description) return description.error();

    auto own = load_own(arguments);
    if (!own) return own.error();
    bool reached = false;
    auto mirror = apk::Mirror::open(arguments.mirror, arguments.options, reached);
    if (!mirror) return mirror.error();
    auto chosen = mirror->fetch([&](apk::Mirror& at) { return at.closure(description->packages); },
                                apk::download_progress());
    if (!chosen) return chosen.error();
    std::string list; // name, version and identity of each package
    for (const apk::Chosen& one : *chosen)
        list += one.entry->full_name() + "\t" + one.entry->identity + "\n";
    for (const Own& one : *own)
        list += one.package.info.full_name() + "\t" + one.package.identity + "\n";
    auto others = arguments.others;
    if (!arguments.initrd.empty() && !description->in_memory)
        if (auto done = add_initrd(others, arguments, list); !done) return done.error();
    std::string seed = *text + list;
    for (const Other& other : others)
        seed += other.name + " " + other.version + "\n";
    if (auto done = tell_facts(*description, seed, chosen->size() + own->size()); !done)
        return done.error();

    Image image{apk::Tree(arguments.epoch), {}};
    auto loaded = mirror->load_all(*chosen);
    if (!loaded) return loaded.error();
    for (std::size_t i = 0; i < chosen->size(); ++i)
        if (auto done =
                add_package(image, std::move((*loaded)[i]), (*chosen)[i].entry->size, arguments);
            !done)
            return done.error();
    if (auto done = image.tree.add_busybox_applets(); !done) return done.error();
    if (auto done = add_own(image, std::move(*own), arguments); !done) return done.error();
    if (auto done = add_settings(image.tree, *description, uuid_of(seed + "root")); !done)
        return done.error().with_context(arguments.description);
    if (!arguments.modules.empty())
        if (auto done = image.tree.add_host(arguments.modules, "/lib/modules", -1); !done)
            return done.error();
    if (description->in_memory)
        if (auto done = image.tree.add_link("sbin/init", "/init"); !done) return done.error();
    // where an image in memory has its disk
    if (auto done = image.tree.add_folder("/media/keep", 0700); !done) return done.error();
    if (auto done = image.tree.finish(); !done) return done.error();
    std::vector<std::string> world = description->packages;
    world.insert(world.end(), {"muster", "muster-init"});
    if (auto done = add_database(image.tree, image.installed, world, arguments.options.arch); !done)
        return done.error();
    if (auto done = image.tree.finish(); !done) return done.error();
    for (const std::string& note : image.tree.notes())
        std::fprintf(stderr, "note: %s\n", note.c_str());
    if (auto done = write_all(image, arguments, others, *description, list, seed); !done)
        return done.error();
    return apk::good;
}

} // namespace
} // namespace muster::image

int main(int argc, char** argv) {
    using namespace muster::image;
    return muster::apk::run_tool(argc, argv, "image", usage, parse, run);
}
