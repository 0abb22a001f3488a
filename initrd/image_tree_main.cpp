// image_tree: what is in an image, from its description; initrd/image makes the disk of it.
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

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
    "  --other \"NAME VERSION PURL\"  something in the image that is no package of Alpine's\n"
    "  --mirror LOCATION, --branch NAME, --arch NAME, --cache FOLDER, --keys FOLDER,\n"
    "  --key-source FOLDER  as for apk_image\n"
    "  --output FOLDER      empty; there come: facts (for a shell), packages.txt, spdx.json, and\n"
    "                       debugfs with contents/, or root.cpio for an image in memory\n"
    "SOURCE_DATE_EPOCH is the time of our own files (0).\n"
    "exit: 0, 1 something is wrong with what was given, 2 usage\n";

struct Arguments {
    std::string description, own, modules, mirror, output;
    apk::MirrorOptions options;
    std::vector<Other> others;
    std::int64_t epoch = 0;
};

Result<Other> parse_other(const std::string& value) {
    std::size_t first = value.find(' ');
    std::size_t second = first == value.npos ? first : value.find(' ', first + 1);
    if (second == value.npos) return Error{"--other " + value + ": needs three parts"};
    return Other{value.substr(0, first), value.substr(first + 1, second - first - 1),
                 value.substr(second + 1)};
}

Result<Arguments> parse(int argc, char** argv) {
    Arguments out;
    for (int i = 1; i < argc; ++i) {
        std::string name = argv[i];
        if (i + 1 == argc) return Error{name + ": needs a value"};
        std::string value = argv[++i];
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
    const char* epoch = std::getenv("SOURCE_DATE_EPOCH");
    out.epoch = epoch ? std::atoll(epoch) : 0;
    return out;
}

struct Image {
    apk::Tree tree;
    std::vector<Installed> installed;
    std::string list; // name, version and identity of each package
};

Result<> add_alpine(Image& image, const Arguments& arguments, const Description& description) {
    bool reached = false;
    auto mirror = apk::Mirror::open(arguments.mirror, arguments.options, reached);
    if (!mirror) return mirror.error();
    auto chosen = mirror->closure(description.packages);
    if (!chosen) return chosen.error();
    for (const apk::Chosen& one : *chosen) {
        auto package = mirror->load(one);
        if (!package) return package.error();
        image.installed.push_back(remember(*package, one.entry->size, arguments.options.arch));
        image.list += one.entry->full_name() + "\t" + one.entry->identity + "\n";
        if (auto done = image.tree.add_package(std::move(*package)); !done) return done;
    }
    return {};
}

// What the package muster-init does when apk installs it, and its key for the image's own apk.
constexpr const char* own_packages[] = {"muster-", "muster-config-", "muster-init-"};

Result<> add_own(Image& image, const Arguments& arguments) {
    std::string key_folder = arguments.own + "/../keys";
    apk::KeyRing keys;
    if (auto done = keys.trust_folder(key_folder); !done) return done;
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
            image.installed.push_back(remember(*package, file->size(), arguments.options.arch));
            image.list += package->info.full_name() + "\t" + package->identity + "\n";
            if (auto done = image.tree.add_package(std::move(*package)); !done) return done;
        }
    }
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

// 8-4-4-4-12 hexadecimal digits from a hash of SEED, marked as made from a name.
std::string uuid_of(const std::string& seed) {
    std::string digits = apk::hex(apk::sha256(seed)).substr(0, 32);
    digits[12] = '8'; // RFC 9562: of nobody's scheme but ours
    digits[16] = '8';
    return digits.substr(0, 8) + "-" + digits.substr(8, 4) + "-" + digits.substr(12, 4) + "-" +
           digits.substr(16, 4) + "-" + digits.substr(20);
}

Result<> write_all(Image& image, const Arguments& arguments, const Description& description,
                   const std::string& seed) {
    const std::string& out = arguments.output;
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
                        "\npart_uuid=" + uuid_of(seed + "part") + "\nwords='" + words + "'\n";
    if (auto done = apk::write_file(out + "/facts", facts); !done) return done;
    if (auto done = apk::write_file(out + "/packages.txt", image.list); !done) return done;
    std::string bill = bill_of_materials(image.installed, arguments.others, "muster-image",
                                         apk::hex(apk::sha256(seed)).substr(0, 16), arguments.epoch,
                                         arguments.options.arch);
    if (auto done = apk::write_file(out + "/spdx.json", bill); !done) return done;
    if (description.in_memory) {
        auto archive = apk::to_cpio(image.tree);
        if (!archive) return archive.error();
        return apk::write_file(out + "/root.cpio", *archive);
    }
    if (auto done = apk::make_folders(out + "/contents"); !done) return done;
    auto script = ext4_script(image.tree, out + "/contents", arguments.epoch);
    if (!script) return script.error();
    return apk::write_file(out + "/debugfs", *script);
}

Result<> run(const Arguments& arguments) {
    auto text = apk::read_file(arguments.description);
    if (!text) return text.error();
    std::size_t slash = arguments.description.rfind('/');
    auto description = parse_description(
        *text, arguments.description,
        slash == std::string::npos ? "." : arguments.description.substr(0, slash));
    if (!description) return description.error();
    Image image{apk::Tree(arguments.epoch), {}, ""};
    if (auto done = add_alpine(image, arguments, *description); !done) return done;
    if (auto done = image.tree.add_busybox_applets(); !done) return done;
    if (auto done = add_own(image, arguments); !done) return done;
    std::string seed = *text + image.list;
    for (const Other& other : arguments.others)
        seed += other.name + " " + other.version + "\n";
    if (auto done = add_settings(image.tree, *description, uuid_of(seed + "root")); !done)
        return done.error().with_context(arguments.description);
    if (!arguments.modules.empty())
        if (auto done = image.tree.add_host(arguments.modules, "/lib/modules", -1); !done)
            return done;
    if (description->in_memory)
        if (auto done = image.tree.add_link("sbin/init", "/init"); !done) return done;
    // where an image in memory has its disk
    if (auto done = image.tree.add_folder("/media/keep", 0700); !done) return done;
    if (auto done = image.tree.finish(); !done) return done;
    std::vector<std::string> world = description->packages;
    world.insert(world.end(), {"muster", "muster-init"});
    if (auto done = add_database(image.tree, image.installed, world, arguments.options.arch); !done)
        return done;
    if (auto done = image.tree.finish(); !done) return done;
    for (const std::string& note : image.tree.notes())
        std::fprintf(stderr, "note: %s\n", note.c_str());
    return write_all(image, arguments, *description, seed);
}

} // namespace
} // namespace muster::image

int main(int argc, char** argv) {
    auto arguments = muster::image::parse(argc, argv);
    if (!arguments) {
        std::fprintf(stderr, "image_tree: %s\n%s", arguments.error().message.c_str(),
                     muster::image::usage);
        return 2;
    }
    if (auto done = muster::image::run(*arguments); !done) {
        std::fprintf(stderr, "image: %s\n", done.error().message.c_str());
        return 1;
    }
    return 0;
}
