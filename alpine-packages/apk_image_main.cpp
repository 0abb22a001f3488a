// apk_image: from package names and own files to an archive that the kernel can boot.
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <string>
#include <vector>

#include "alpine-packages/command_line.h"
#include "alpine-packages/files.h"
#include "alpine-packages/install.h"
#include "alpine-packages/repository.h"
#include "alpine-packages/tree.h"

namespace muster::apk {
namespace {

constexpr const char* usage =
    "usage: apk_image COMMAND [OPTION]... [NAME]...\n"
    "  image    packages NAME... with their dependencies, and own files, as a newc archive\n"
    "  closure  prints the packages that NAME... needs: name, version, repository\n"
    "  find     prints the packages of just these names: name, version, identity\n"
    "  install  packages NAME... with their dependencies into the root --tree, as apk does it:\n"
    "           scripts run in it, in namespaces; the real apk can go on from there\n"
    "  unpack   the files of the packages NAME... alone, into the folder --tree\n"
    "  verify   checks the package files NAME... against the keys\n"
    "options:\n"
    "  --mirror LOCATION    URL or folder with packages\n"
    "  --branch NAME        branch below a mirror's top (v3.19)\n"
    "  --arch NAME          machine (x86_64)\n"
    "  --cache FOLDER       for downloads\n"
    "  --stall SECONDS      a server that sends nothing for so long is given up (20)\n"
    "  --keys FOLDER        trust these keys and no others\n"
    "  --key-source FOLDER  look here for Alpine's keys, which are known by their fingerprint\n"
    "  --packages FILE      more NAMEs: one a line, # begins a comment\n"
    "  --busybox            links for busybox' applets, as its package lists them\n"
    "  --applets FILE:TARGET  links to TARGET for each path listed in FILE\n"
    "  --remove GUEST       leaves out what packages and lists brought\n"
    "  --add HOST:GUEST[:MODE]  a file or a folder of this machine\n"
    "  --folder GUEST[:MODE], --link TARGET:GUEST\n"
    "  --output FILE        the archive\n"
    "  --tree FOLDER        the same as a folder\n"
    "  --repository LINE    install: a line for /etc/apk/repositories\n"
    "  --no-scripts         install: runs none\n"
    "  --list FILE          name and version of each package, for the record\n"
    "exit: 0, 1 something is wrong with packages or files, 2 usage, 3 the mirror does not answer\n";

struct Option {
    std::string name, value;
};

struct Arguments {
    std::string command, mirror, output, tree, list;
    MirrorOptions options;
    bool busybox = false, scripts = true;
    std::vector<std::string> repositories;
    std::vector<std::string> names;
    std::vector<Option> steps; // what changes the tree, in order
};

Exit complain(const Error& error, Exit status) {
    std::fprintf(stderr, "apk_image: %s\n", error.message.c_str());
    return status;
}

bool read_names(const std::string& text, std::vector<std::string>& names) {
    std::string word;
    bool comment = false;
    for (char c : text + "\n") {
        if (c == '#') comment = true;
        bool space = c == ' ' || c == '\t' || c == '\n';
        if (!space && !comment) word += c;
        if ((space || comment) && !word.empty()) names.push_back(word), word.clear();
        if (c == '\n') comment = false;
    }
    return !names.empty();
}

Result<Arguments> parse(Words words) {
    Arguments out;
    if (!words.next()) return Error{"no command"};
    out.command = words.word();
    while (words.next()) {
        std::string name = words.word();
        if (!words.is_option()) {
            out.names.push_back(name);
            continue;
        }
        if (name == "--busybox") {
            out.busybox = true;
            continue;
        }
        if (name == "--no-scripts") {
            out.scripts = false;
            continue;
        }
        auto given = words.value();
        if (!given) return given.error();
        const std::string& value = *given;
        if (name == "--mirror")
            out.mirror = value;
        else if (out.options.take(name, value))
            continue;
        else if (name == "--output")
            out.output = value;
        else if (name == "--tree")
            out.tree = value;
        else if (name == "--list")
            out.list = value;
        else if (name == "--repository")
            out.repositories.push_back(value);
        else if (name == "--packages") {
            auto text = read_file(value);
            if (!text) return text.error();
            if (!read_names(*text, out.names)) return Error{value + ": names no package"};
        } else if (name == "--add" || name == "--folder" || name == "--link" ||
                   name == "--remove" || name == "--applets")
            out.steps.push_back({name, value});
        else
            return Error{name + ": no such option"};
    }
    return out;
}

// The last ":MODE", octal, is taken off VALUE; -1 if there is none.
int take_mode(std::string& value) {
    std::size_t colon = value.rfind(':');
    if (colon == std::string::npos) return -1;
    int mode = 0;
    const char* first = value.data() + colon + 1;
    const char* last = value.data() + value.size();
    auto [end, error] = std::from_chars(first, last, mode, 8);
    if (error != std::errc() || end != last || first == last || mode > 07777) return -1;
    value.resize(colon);
    return mode;
}

Result<> apply(Tree& tree, Option step) {
    if (step.name == "--remove") return tree.remove(step.value);
    if (step.name == "--folder") {
        int mode = take_mode(step.value);
        return tree.add_folder(step.value, mode < 0 ? 0755 : static_cast<unsigned>(mode));
    }
    int mode = step.name == "--add" ? take_mode(step.value) : -1;
    std::size_t colon = step.value.find(':');
    if (colon == std::string::npos || colon == 0)
        return Error{step.name + " " + step.value + ": needs two names with a colon between"};
    std::string first = step.value.substr(0, colon), second = step.value.substr(colon + 1);
    if (step.name == "--link") return tree.add_link(first, second);
    if (step.name == "--add") return tree.add_host(first, second, mode);
    auto list = read_file(first);
    if (!list) return list.error();
    return tree.add_applets(*list, second);
}

Exit run_verify(const Arguments& arguments) {
    KeyRing keys;
    for (const std::string& folder : arguments.options.key_folders)
        if (auto done = keys.trust_folder(folder); !done) return complain(done.error(), wrong);
    Exit status = good;
    for (const std::string& name : arguments.names) {
        auto file = read_file(name);
        if (!file) {
            status = complain(file.error(), wrong);
            continue;
        }
        auto package = read_package(*file, keys);
        if (!package)
            status = complain(package.error().with_context(name), wrong);
        else
            std::printf("%s\t%s\tgood\n", name.c_str(), package->identity.c_str());
    }
    return status;
}

Exit run_install(const Arguments& arguments) {
    if (arguments.mirror.empty() || arguments.tree.empty() || arguments.names.empty())
        return complain(Error{"install needs --mirror, --tree and NAME..."}, misuse);
    bool reached = false;
    auto mirror = Mirror::open(arguments.mirror, arguments.options, reached);
    if (!mirror) return complain(mirror.error(), reached ? wrong : unreachable);
    auto chosen = mirror->fetch([&](Mirror& at) { return at.solution(arguments.names); },
                                download_progress());
    if (!chosen) return complain(chosen.error(), wrong);
    auto loaded = mirror->load_all(*chosen);
    if (!loaded) return complain(loaded.error(), wrong);
    std::vector<ToInstall> packages;
    for (std::size_t i = 0; i < chosen->size(); ++i)
        packages.push_back({std::move((*loaded)[i]), mirror->record((*chosen)[i])});
    InstallOptions options;
    options.world = arguments.names;
    options.repositories = arguments.repositories;
    options.arch = arguments.options.arch;
    options.scripts = arguments.scripts;
    options.progress = [](std::size_t done, std::size_t all, const std::string& what) {
        std::fprintf(stderr, "(%zu/%zu) %s\n", std::min(done + 1, all), all, what.c_str());
    };
    for (const std::string& folder : arguments.options.key_folders) {
        auto names = list_folder(folder);
        for (const std::string& name : names ? *names : std::vector<std::string>())
            if (auto pem = read_file(folder + "/" + name); pem && name.ends_with(".pub"))
                options.keys.emplace_back(name, *pem);
    }
    std::vector<std::string> notes;
    auto done = install(std::move(packages), arguments.tree, options, notes);
    for (const std::string& note : notes)
        std::fprintf(stderr, "note: %s\n", note.c_str());
    return done ? good : complain(done.error(), wrong);
}

Result<Exit> run(const Arguments& arguments) {
    if (arguments.command == "verify") return run_verify(arguments);
    if (arguments.command == "install") return run_install(arguments);
    bool find = arguments.command == "find";
    bool alone = arguments.command == "unpack" || find;
    bool print = arguments.command == "closure" || find;
    if (!alone && !print && arguments.command != "image") {
        std::fputs(usage, stderr);
        return misuse;
    }
    Tree tree(source_date_epoch());
    std::string list;
    if (!arguments.names.empty()) {
        if (arguments.mirror.empty()) return complain(Error{"packages need --mirror"}, misuse);
        bool reached = false;
        auto mirror = Mirror::open(arguments.mirror, arguments.options, reached);
        if (!mirror) return complain(mirror.error(), reached ? wrong : unreachable);
        auto choose = [&](Mirror& at) -> Result<std::vector<Chosen>> {
            if (!alone) return at.closure(arguments.names);
            std::vector<Chosen> out;
            for (const std::string& name : arguments.names) {
                auto found = at.find(name);
                if (!found) return found.error();
                out.push_back(*found);
            }
            return out;
        };
        auto chosen = print ? choose(*mirror) : mirror->fetch(choose, download_progress());
        if (!chosen) return chosen.error();
        if (print) {
            for (const Chosen& package : *chosen)
                std::printf("%s\t%s\t%s\n", package.entry->name.c_str(),
                            package.entry->version.c_str(),
                            find ? package.entry->identity.c_str()
                                 : mirror->repositories()[package.repository].c_str());
            return good;
        }
        auto loaded = mirror->load_all(*chosen);
        if (!loaded) return loaded.error();
        for (std::size_t i = 0; i < chosen->size(); ++i) {
            const IndexEntry& entry = *(*chosen)[i].entry;
            list += entry.full_name() + "\t" + entry.identity + "\n";
            if (auto done = tree.add_package(std::move((*loaded)[i])); !done) return done.error();
        }
    }
    if (arguments.busybox)
        if (auto done = tree.add_busybox_applets(); !done) return done.error();
    for (const Option& step : arguments.steps)
        if (auto done = apply(tree, step); !done) return done.error();
    if (auto done = tree.finish(); !done) return done.error();
    for (const std::string& note : tree.notes())
        std::fprintf(stderr, "note: %s\n", note.c_str());
    if (!arguments.output.empty()) {
        auto archive = to_cpio(tree);
        if (!archive) return archive.error();
        if (auto done = write_file(arguments.output, *archive); !done) return done.error();
    }
    if (!arguments.tree.empty())
        if (auto done = write_folder(tree, arguments.tree); !done) return done.error();
    if (!arguments.list.empty())
        if (auto done = write_file(arguments.list, list); !done) return done.error();
    return good;
}

} // namespace
} // namespace muster::apk

int main(int argc, char** argv) {
    using namespace muster::apk;
    return run_tool(argc, argv, "apk_image", usage, parse, run);
}
