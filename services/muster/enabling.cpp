#include "services/muster/enabling.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "init/base/fd.h"
#include "init/dataspace/pattern.h"
#include "init/preserves/text_writer.h"
#include "services/muster/bus.h"
#include "services/muster/failed.h"
#include "services/muster/notation.h"
#include "services/muster/output.h"
#include "services/muster/selection.h"
#include "services/muster/templates.h"
#include "services/tracker/service.h"

namespace muster::command {

namespace pat = dataspace::pattern;

namespace {

constexpr const char* enabled_folder = "/etc/muster/services/enabled";
constexpr const char* disabled_folder = "/etc/muster/boot/disabled";

std::string file_name(View service) {
    std::string name;
    for (char c : services::display_name(service)) {
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '_' || c == '-' || c == '@' || c == '+' || (c == '.' && !name.empty());
        if (plain) {
            name += c;
            continue;
        }
        char hex[4];
        std::snprintf(hex, sizeof hex, "%%%02X", static_cast<unsigned char>(c));
        name += hex;
    }
    return name + ".pr";
}

Result<> make_folder(const std::string& path) {
    for (size_t slash = path.find('/', 1); slash != std::string::npos;
         slash = path.find('/', slash + 1))
        mkdir(path.substr(0, slash).c_str(), 0755);
    if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) return system_error(path, errno);
    return {};
}

// All of it or nothing, also if the power goes.
Result<> write_file(const std::string& path, const std::string& text) {
    std::string folder = path.substr(0, path.rfind('/'));
    if (Result<> made = make_folder(folder); !made) return made;
    std::string fresh = folder + "/." + path.substr(folder.size() + 1) + ".new";
    Fd file(open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (!file) return system_error(fresh, errno);
    bool written = write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
    if (!written || fchmod(file.get(), 0644) != 0 || fsync(file.get()) != 0 ||
        rename(fresh.c_str(), path.c_str()) != 0) {
        Error error = system_error(path, written || errno ? errno : ENOSPC);
        unlink(fresh.c_str());
        return error;
    }
    Fd directory(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory) fsync(directory.get());
    return {};
}

// False if there was none.
Result<bool> remove_file(const std::string& path) {
    if (unlink(path.c_str()) == 0) return true;
    if (errno == ENOENT || errno == ENOTDIR) return false;
    return system_error(path, errno);
}

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

std::string contents(const char* command, const char* label, View service) {
    std::string name = services::display_name(service);
    return "# " + std::string(command) + " " + name + "\n<" + label + " " +
           preserves::to_text(service) + ">\n";
}

Error unspeakable(View service) {
    return Error{services::display_name(service) +
                 ": its name holds a capability, which a file cannot name"};
}

Result<Standing> standing_of(Bus& bus, const Value& name, View status) {
    Standing standing;
    auto needs = bus.query({"config"}, pat::record("require-service", {pat::literal(name)}));
    if (!needs) return needs.error();
    for (const Value& each : *needs)
        standing.needed = standing.needed || each.view().at(0) == name.view();
    auto causes =
        bus.query({"config"}, pat::record("started-by", {pat::literal(name), pat::discard()}));
    if (!causes) return causes.error();
    for (const Value& each : *causes)
        standing.started_by = standing.started_by || each.view().at(0) == name.view();
    standing.held_up = status.valid() && status.at(2).get("override").is_symbol("up");
    return standing;
}

Result<std::string> do_it(bool enable, const std::string& root, View service,
                          const Standing& standing) {
    return enable ? enable_service(root, service, standing)
                  : disable_service(root, service, standing);
}

Result<std::string> one(Bus& bus, bool enable, const std::string& word,
                        const std::vector<Value>& known) {
    std::vector<Value> names = services_meant(word, known);
    if (names.size() > 1) return Error{word + " could be several services"};
    auto name = real_name(bus, names[0]);
    if (!name) return name.error();
    View status;
    for (const Value& each : known)
        if (each.view().at(0) == names[0].view()) status = each;
    bool undefined = !status.valid() || status.at(2).get("undefined").valid();
    // What is needed, or was enabled or disabled, may be kept from running whoever defines it.
    bool named =
        status.valid() || exists(enabled_file("", *name)) || exists(disabled_file("", *name));
    if (undefined && (enable || !named)) {
        auto made = has_template(bus, *name);
        if (!made) return made.error();
        if (!*made) return Error{"nobody defines " + preserves::to_text(names[0])};
    }
    auto standing = standing_of(bus, *name, status);
    if (!standing) return standing.error();
    return do_it(enable, "", *name, *standing);
}

} // namespace

std::string enabled_file(const std::string& root, View service) {
    return root + enabled_folder + "/" + file_name(service);
}

std::string disabled_file(const std::string& root, View service) {
    return root + disabled_folder + "/" + file_name(service);
}

Result<std::string> enable_service(const std::string& root, View service,
                                   const Standing& standing) {
    if (preserves::Value(service).has_embedded()) return unspeakable(service);
    std::string name = services::display_name(service);
    Result<bool> removed = remove_file(disabled_file(root, service));
    if (!removed) return removed.error();
    std::string before = *removed ? name + " is not disabled any more; " : "";
    std::string file = enabled_file(root, service);
    if (exists(file)) return before + name + " is enabled already, by " + file;
    if (standing.started_by) return before + name + " is started by what its configuration says";
    if (standing.needed && !standing.held_up)
        return before + name + " is needed already, as its configuration says";
    Result<> written = write_file(file, contents("muster enable", "require-service", service));
    if (!written) return written.error();
    return name + " is enabled, by " + file;
}

Result<std::string> disable_service(const std::string& root, View service,
                                    const Standing& standing) {
    if (preserves::Value(service).has_embedded()) return unspeakable(service);
    std::string name = services::display_name(service);
    std::string file = disabled_file(root, service);
    bool already = exists(file);
    if (!already) {
        Result<> written = write_file(file, contents("muster disable", "disable-service", service));
        if (!written) return written.error();
    }
    Result<bool> removed = remove_file(enabled_file(root, service));
    if (!removed) return removed.error();
    std::string said = name + (already ? " is disabled already, by " : " is disabled, by ") + file;
    if (standing.held_up) said += "; it runs until `muster release` or `muster stop`";
    return said;
}

int enabling_command(const std::string& bus, bool enable, const std::string& root,
                     const std::vector<std::string>& words) {
    int result = 0;
    auto tell = [&](const Result<std::string>& done) {
        if (done)
            put_line(*done);
        else
            result = failed(done.error());
    };
    if (!root.empty()) {
        std::string folder = root == "/" ? "" : root;
        while (folder.ends_with('/'))
            folder.pop_back();
        if (!exists(folder + "/etc/muster"))
            return failed(Error{folder + "/etc/muster: not there"});
        for (const std::string& word : words) {
            auto service = parse_service(word);
            tell(service ? do_it(enable, folder, *service, {}) : service.error());
        }
        return result;
    }
    auto connected = Bus::connect(bus);
    if (!connected) return failed(connected.error());
    if (!(*connected)->is_root())
        return denied((enable ? "enable" : "disable") + std::string(" services"));
    auto known = known_services(**connected);
    if (!known) return failed(known.error());
    for (const std::string& word : words)
        tell(one(**connected, enable, word, *known));
    return result;
}

} // namespace muster::command
