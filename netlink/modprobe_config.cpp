#include "netlink/modprobe_config.h"

#include <dirent.h>

#include <algorithm>
#include <memory>

#include "netlink/files.h"
#include "netlink/glob.h"
#include "netlink/say.h"

namespace muster::netlink {

std::string module_name(std::string_view name) {
    std::string plain(name);
    std::transform(plain.begin(), plain.end(), plain.begin(), name_character);
    return plain;
}

namespace {

std::string_view trim(std::string_view text) {
    const size_t begin = text.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(" \t\r") + 1 - begin);
}

// The next word of a command line; blanks within double quotes belong to it.
std::string_view take_parameter(std::string_view& line) {
    const size_t begin = std::min(line.find_first_not_of(" \t\r\n"), line.size());
    line.remove_prefix(begin);
    bool quoted = false;
    size_t end = 0;
    for (; end < line.size(); ++end) {
        if (line[end] == '"')
            quoted = !quoted;
        else if (!quoted && std::string_view(" \t\r\n").find(line[end]) != std::string_view::npos)
            break;
    }
    const std::string_view word = line.substr(0, end);
    line.remove_prefix(end);
    return word;
}

void append_option(std::string& options, std::string_view more) {
    if (!options.empty()) options += ' ';
    options += more;
}

} // namespace

bool ModprobeConfig::add_line(std::string_view line) {
    const std::string_view what = take_word(line);
    if (what.empty() || what[0] == '#') return true;
    const std::string_view name = take_word(line);
    const std::string_view rest = trim(line);
    if (name.empty()) return false;
    if (what == "alias") {
        if (rest.empty()) return false;
        aliases.emplace_back(name, module_name(take_word(line)));
    } else if (what == "blacklist") {
        blacklist.insert(module_name(name));
    } else if (what == "install") {
        never.insert(module_name(name));
    } else if (what == "options") {
        append_option(options[module_name(name)], rest);
    } else if (what == "softdep") {
        Softdep& softdep = softdeps[module_name(name)];
        std::vector<std::string>* list = nullptr;
        for (std::string_view word; !(word = take_word(line)).empty();) {
            if (word == "pre:")
                list = &softdep.before;
            else if (word == "post:")
                list = &softdep.after;
            else if (list)
                list->push_back(module_name(word));
        }
    } else {
        return what == "remove"; // we remove nothing
    }
    return true;
}

void ModprobeConfig::add_command_line(std::string_view words) {
    for (std::string_view word; !(word = take_parameter(words)).empty();) {
        const size_t dot = word.find('.');
        const size_t equals = word.find('=');
        if (word == "--" || word == "-") break; // the rest is for init
        if (dot == 0 || dot >= equals) continue;
        const std::string_view module = word.substr(0, dot);
        if (word.starts_with("modprobe.blacklist=")) {
            std::string_view list = word.substr(equals + 1);
            while (!list.empty()) {
                const size_t end = std::min(list.find(','), list.size());
                if (end > 0) blacklist.insert(module_name(list.substr(0, end)));
                list.remove_prefix(std::min(end + 1, list.size()));
            }
        } else {
            append_option(options[module_name(module)], word.substr(dot + 1));
        }
    }
}

namespace {

void read_lines(ModprobeConfig& config, const std::string& path, bool complain) {
    LineFile file(path);
    std::string joined;
    size_t number = 0;
    for (std::string_view line; file.next(line);) {
        ++number;
        if (line.ends_with('\\')) {
            joined += line.substr(0, line.size() - 1);
            continue;
        }
        const bool understood = config.add_line(joined.empty() ? line : joined.append(line));
        if (!understood && complain)
            say(path + ":" + std::to_string(number) +
                ": not understood: " + std::string(joined.empty() ? line : joined));
        joined.clear();
    }
}

} // namespace

ModprobeConfig read_modprobe_config(const std::string& root, const std::string& modules_folder,
                                    bool complain) {
    ModprobeConfig config;
    read_lines(config, modules_folder + "/modules.softdep", false);
    std::map<std::string, std::string> files; // name, path: the first folder that has it counts
    for (const char* folder :
         {"/etc/modprobe.d", "/run/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"}) {
        const std::string path = root + folder;
        const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(path.c_str()), ::closedir);
        while (const dirent* entry = entries ? ::readdir(entries.get()) : nullptr) {
            const std::string_view name = entry->d_name;
            if (name.ends_with(".conf") && name[0] != '.')
                files.emplace(name, path + '/' + entry->d_name);
        }
    }
    for (const auto& [name, path] : files)
        read_lines(config, path, complain);
    if (const auto words = read_file(root + "/proc/cmdline")) config.add_command_line(*words);
    return config;
}

} // namespace muster::netlink
