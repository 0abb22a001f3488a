#include "services/muster/places.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "init/base/fd.h"
#include "init/config/watcher.h"
#include "init/preserves/text_writer.h"
#include "services/muster/screen.h"

namespace muster::command {

using config::Form;
using preserves::Kind;

namespace {

constexpr size_t most_files = 4'096;

// `_`, `?x`, `$x`, or `<?x PATTERN>`: anything.
bool is_anything(const Form& form) {
    if (form.kind == Kind::record)
        return !form.items.empty() && form.items[0].kind == Kind::symbol &&
               form.items[0].symbol().starts_with('?');
    if (form.kind != Kind::symbol) return false;
    std::string_view text = form.symbol();
    return text == "_" || text.starts_with('?') || text.starts_with('$');
}

// Whether the form, or what it computes, may be this value. Bounded by the depth of values.
bool may_be(const Form& form, View value) {
    if (is_anything(form)) return true;
    if (!form.is_compound()) {
        View atom = form.atom;
        if (auto word = atom.as_symbol(); word && word->size() > 1 && word->front() == '=')
            return value.is_symbol(word->substr(1));
        return atom == value;
    }
    if (!value.is_compound() || value.kind() != form.kind) return false;
    size_t at = 0;
    if (form.kind == Kind::record) {
        if (form.items.empty() || !may_be(form.items[0], value.label())) return false;
        at = 1;
    } else if (form.kind != Kind::sequence) {
        return true; // variables, mostly
    }
    size_t field = 0;
    for (; at < form.items.size(); ++at, ++field) {
        View item = value.at(field);
        if (!item.valid() || !may_be(form.items[at], item)) return false;
    }
    return !value.at(field).valid();
}

// A name that says which service it is.
bool names(const Form& form, View service) {
    if (is_anything(form)) return false;
    if (form.kind == Kind::record && form.items.size() == 2 && is_anything(form.items[1]))
        return false;
    return may_be(form, service);
}

bool is_record(const Form& form, std::string_view label, size_t fields) {
    return form.kind == Kind::record && form.items.size() == fields + 1 &&
           form.items[0].kind == Kind::symbol && form.items[0].symbol() == label;
}

// A word of a command, with variables as they stand.
std::string word_text(const Form& form) {
    if (auto text = form.atom.view().as_string()) return std::string(*text);
    if (!form.is_compound()) return preserves::to_text(form.atom);
    return "...";
}

std::string command_of(const Form& form) {
    if (form.kind == Kind::string) return word_text(form);
    if (form.kind == Kind::sequence) {
        std::string text;
        for (const Form& each : form.items)
            text += (text.empty() ? "" : " ") + word_text(each);
        return text;
    }
    if (is_record(form, "one-shot", 1)) return command_of(form.items[1]);
    if (form.kind == Kind::dictionary)
        for (size_t i = 0; i + 1 < form.items.size(); i += 2)
            if (form.items[i].kind == Kind::symbol && form.items[i].symbol() == "argv")
                return command_of(form.items[i + 1]);
    return "";
}

// Calls visit(form) for all that a script says, not for what it looks for.
template <typename Visit>
void for_each_said(const std::vector<Form>& forms, Visit visit) {
    std::vector<const Form*> open;
    auto add = [&](const std::vector<Form>& items) {
        for (size_t i = items.size(); i-- > 0;) {
            bool pattern = i > 0 && items[i - 1].kind == Kind::symbol &&
                           (items[i - 1].symbol() == "?" || items[i - 1].symbol() == "??" ||
                            items[i - 1].symbol() == "=~" || items[i - 1].symbol() == "!" ||
                            items[i - 1].symbol() == "pattern");
            if (!pattern) open.push_back(&items[i]);
        }
    };
    add(forms);
    while (!open.empty()) {
        const Form* form = open.back();
        open.pop_back();
        if (!form->is_compound()) continue;
        bool caveats = form->kind == Kind::record && !form->items.empty() &&
                       form->items[0].kind == Kind::symbol && form->items[0].symbol() == "*";
        if (caveats) continue;
        visit(*form);
        add(form->items);
    }
}

bool read_file(const std::string& path, std::string& text) {
    Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat status {};
    if (!file || fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
    if (static_cast<uint64_t>(status.st_size) > config::max_script_size) return false;
    text.resize(static_cast<size_t>(status.st_size));
    size_t size = 0;
    while (size < text.size()) {
        ssize_t count = ::read(file.get(), text.data() + size, text.size() - size);
        if (count <= 0) break;
        size += static_cast<size_t>(count);
    }
    text.resize(size);
    return true;
}

// The files below `paths`, each once, sorted.
std::vector<std::string> script_files(const std::vector<std::string>& paths) {
    std::vector<std::string> files;
    std::vector<std::string> folders = paths;
    for (size_t i = 0; i < folders.size() && folders.size() < most_files; ++i) {
        std::string folder = folders[i];
        DIR* directory = opendir(folder.c_str());
        if (!directory) {
            files.push_back(folder); // a watcher may have one file
            continue;
        }
        while (dirent* entry = readdir(directory)) {
            std::string name = entry->d_name;
            if (name[0] == '.') continue;
            std::string path = folder + "/" + name;
            struct stat status {};
            if (stat(path.c_str(), &status) != 0) continue;
            if (S_ISDIR(status.st_mode))
                folders.push_back(path);
            else if (name.ends_with(".pr") && files.size() < most_files)
                files.push_back(path);
        }
        closedir(directory);
    }
    std::sort(files.begin(), files.end());
    files.erase(std::unique(files.begin(), files.end()), files.end());
    return files;
}

} // namespace

Places Places::read(const std::vector<std::string>& paths) {
    Places places;
    for (const std::string& file : script_files(paths)) {
        std::string text;
        if (read_file(file, text)) places.add(file, text);
    }
    return places;
}

void Places::add(const std::string& file, std::string_view text) {
    File added{file, {}};
    config::FormReader reader(text);
    // What comes before an error is as good as it was.
    while (std::optional<Form> form = reader.next())
        added.forms.push_back(std::move(*form));
    files_.push_back(std::move(added));
}

std::vector<Place> Places::definitions(View service) const {
    std::vector<Place> found;
    if (!service.is_record("daemon", 1)) return found;
    for (const File& file : files_)
        for_each_said(file.forms, [&](const Form& form) {
            if (!is_record(form, "daemon", 2) || is_anything(form.items[1])) return;
            if (may_be(form.items[1], service.at(0)))
                found.push_back({file.name, form.at, printable(command_of(form.items[2]))});
        });
    return found;
}

std::vector<Place> Places::demands(View service) const {
    std::vector<Place> found;
    for (const File& file : files_)
        for_each_said(file.forms, [&](const Form& form) {
            bool demand =
                is_record(form, "require-service", 1) || is_record(form, "RequireService", 1);
            if (demand && names(form.items[1], service)) found.push_back({file.name, form.at, ""});
        });
    return found;
}

std::vector<Place> Places::disablings(View service) const {
    std::vector<Place> found;
    for (const File& file : files_)
        for_each_said(file.forms, [&](const Form& form) {
            if (is_record(form, "disable-service", 1) && names(form.items[1], service))
                found.push_back({file.name, form.at, ""});
        });
    return found;
}

std::vector<Place> Places::ties(std::string_view label, View service, View other) const {
    std::vector<Place> found;
    for (const File& file : files_)
        for_each_said(file.forms, [&](const Form& form) {
            if (is_record(form, label, 2) && names(form.items[1], service) &&
                (!other.valid() || names(form.items[2], other)))
                found.push_back({file.name, form.at, ""});
        });
    return found;
}

std::string shown(const std::vector<Place>& places) {
    std::string text;
    for (const Place& each : places)
        text += (text.empty() ? "" : ", ") + each.shown();
    return text;
}

std::string command_text(View spec) {
    while (spec.is_record("one-shot", 1))
        spec = spec.at(0);
    if (spec.is(Kind::dictionary)) spec = spec.get("argv");
    if (!spec.valid()) return "";
    if (auto text = spec.as_string()) return printable(*text);
    std::string text;
    if (spec.is(Kind::sequence))
        for (View each : spec.items()) {
            auto word = each.as_text();
            text += (text.empty() ? "" : " ") + (word ? std::string(*word) : "...");
        }
    return printable(text);
}

} // namespace muster::command
