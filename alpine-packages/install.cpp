#include "alpine-packages/install.h"

#include <fnmatch.h>

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "alpine-packages/index.h"
#include "alpine-packages/install_database.h"
#include "alpine-packages/root_files.h"
#include "alpine-packages/root_script.h"
#include "alpine-packages/version.h"

namespace muster::apk {
namespace {

// name:…:number: of passwd and group.
std::map<std::string, std::uint32_t> read_ids(std::string_view text) {
    std::map<std::string, std::uint32_t> out;
    while (!text.empty()) {
        std::size_t size = std::min(text.find('\n'), text.size());
        std::string line(text.substr(0, size));
        text.remove_prefix(std::min(size + 1, text.size()));
        std::size_t name = line.find(':');
        std::size_t number = name == line.npos ? name : line.find(':', name + 1);
        if (number == line.npos) continue;
        out.try_emplace(line.substr(0, name), static_cast<std::uint32_t>(std::strtoul(
                                                  line.c_str() + number + 1, nullptr, 10)));
    }
    return out;
}

class Installer {
  public:
    Installer(std::vector<ToInstall> packages, RootFiles root, const InstallOptions& options,
              std::vector<std::string>& notes)
        : packages_(std::move(packages)), root_(std::move(root)), options_(options), notes_(notes),
          installed_(packages_.size()), failed_(packages_.size()) {}

    // Who gets a file that several packages have.
    Result<> plan() {
        for (std::size_t i = 0; i < packages_.size(); ++i) {
            for (const TarEntry& entry : packages_[i].package.files) {
                if (entry.kind == FileKind::folder) continue;
                auto [place, fresh] = owner_.try_emplace(entry.path, i);
                if (fresh) continue;
                const PackageInfo& there = packages_[place->second].package.info;
                const PackageInfo& here = packages_[i].package.info;
                bool same_origin = !here.origin.empty() && here.origin == there.origin;
                if (replaces(there, here)) continue;
                if (!replaces(here, there) && !same_origin)
                    return Error{entry.path + ": is in " + there.full_name() + " and in " +
                                 here.full_name()};
                place->second = i;
            }
        }
        return {};
    }

    Result<> run() {
        for (const char* folder : {"lib/apk/db", "etc/apk/keys", "var/cache/apk"})
            if (auto done = root_.make_folder(folder); !done) return done;
        // what apk makes when it makes a database
        for (const auto& [path, mode] :
             std::initializer_list<std::pair<const char*, std::uint32_t>>{
                 {"dev", 0755}, {"proc", 0555}, {"tmp", 01777}, {"lib/apk/exec", 0700}}) {
            TarEntry folder;
            folder.path = path;
            folder.kind = FileKind::folder;
            folder.mode = mode;
            if (auto done = root_.put_folder(folder, 0, 0); !done) return done;
        }
        for (std::size_t i = 0; i < packages_.size(); ++i)
            if (auto done = install_one(i); !done)
                return done.error().with_context(packages_[i].package.info.full_name());
        run_triggers();
        if (auto done = write_settings(); !done) return done;
        return write_database();
    }

  private:
    static bool replaces(const PackageInfo& package, const PackageInfo& other) {
        return std::any_of(package.replaces.begin(), package.replaces.end(),
                           [&](const std::string& word) {
                               auto dependency = parse_dependency(word);
                               return dependency && dependency->name == other.name &&
                                      dependency->allows(other.version);
                           });
    }

    void tell(std::size_t done, const std::string& what) {
        if (options_.progress) options_.progress(done, packages_.size(), what);
    }

    static const TarEntry* script(const Package& package, const std::string& name) {
        for (const TarEntry& entry : package.control)
            if (entry.path == "." + name && entry.kind == FileKind::file) return &entry;
        return nullptr;
    }

    // Nothing to run is a success.
    Result<int> run_script(const Package& package, const std::string& name,
                           const std::vector<std::string>& arguments) {
        const TarEntry* entry = script(package, name);
        if (!entry || !options_.scripts) return 0;
        std::string path = "lib/apk/exec/" + package.info.full_name() + "." + name;
        if (auto done = root_.write(path, entry->data, 0755); !done) return done.error();
        auto status = run_in_root(root_.folder(), "/" + path, arguments, leftovers_);
        root_.remove(path);
        return status;
    }

    // A script after which there is nothing to stop.
    void run_last_script(std::size_t i, const std::string& name,
                         const std::vector<std::string>& arguments) {
        const Package& package = packages_[i].package;
        auto status = run_script(package, name, arguments);
        if (status && *status == 0) return;
        failed_[i] = true;
        notes_.push_back(
            package.info.full_name() + ": " + name + ": " +
            (status ? "exited with " + std::to_string(*status) : status.error().message));
    }

    void read_owners() {
        auto passwd = root_.read("etc/passwd"), group = root_.read("etc/group");
        users_ = read_ids(passwd ? *passwd : "");
        groups_ = read_ids(group ? *group : "");
        users_.try_emplace("root", 0);
        groups_.try_emplace("root", 0);
    }

    Result<> install_one(std::size_t i) {
        const Package& package = packages_[i].package;
        const std::string& version = package.info.version;
        tell(i, package.info.full_name());
        auto status = run_script(package, "pre-install", {version});
        if (!status) return status.error();
        if (*status != 0) return Error{"pre-install: exited with " + std::to_string(*status)};
        read_owners();
        for (const TarEntry& entry : package.files)
            if (auto done = put(i, entry); !done) return done;
        run_last_script(i, "post-install", {version});
        return {};
    }

    Result<> put(std::size_t i, const TarEntry& entry) {
        InstalledFile file{&entry, entry.uid, entry.gid, true};
        if (auto user = users_.find(entry.user); user != users_.end()) file.uid = user->second;
        if (auto group = groups_.find(entry.group); group != groups_.end())
            file.gid = group->second;
        if (entry.kind == FileKind::folder) {
            installed_[i].push_back(file);
            return root_.put_folder(entry, file.uid, file.gid);
        }
        file.owned = owner_.at(entry.path) == i;
        installed_[i].push_back(file);
        if (!file.owned) return {};
        auto done = root_.put(entry, file.uid, file.gid, !written_.insert(entry.path).second);
        if (!done) return done.error();
        if (*done == Put::beside)
            notes_.push_back(packages_[i].package.info.full_name() + ": " + entry.path +
                             " is there already; the new one is " + entry.path + ".apk-new");
        return {};
    }

    // Every folder is new, so each trigger gets all that it asks for.
    void run_triggers() {
        std::set<std::string> folders;
        for (const auto& files : installed_)
            for (const InstalledFile& file : files) {
                const std::string& path = file.entry->path;
                std::size_t slash = path.rfind('/');
                if (file.entry->kind == FileKind::folder)
                    folders.insert("/" + path);
                else if (slash != std::string::npos)
                    folders.insert("/" + path.substr(0, slash));
            }
        for (std::size_t i = 0; i < packages_.size(); ++i) {
            std::vector<std::string> matching;
            for (const std::string& folder : folders)
                for (const std::string& glob : packages_[i].package.info.triggers)
                    if (fnmatch(glob.c_str() + glob.starts_with('+'), folder.c_str(),
                                FNM_PATHNAME) == 0) {
                        matching.push_back(folder);
                        break;
                    }
            if (matching.empty()) continue;
            tell(packages_.size(), packages_[i].package.info.full_name() + ".trigger");
            run_last_script(i, "trigger", matching);
        }
    }

    Result<> write_settings() {
        std::set<std::string> world(options_.world.begin(), options_.world.end());
        std::string text;
        for (const std::string& word : world)
            text += word + "\n";
        if (auto done = root_.write("etc/apk/world", text, 0644); !done) return done;
        if (auto done = root_.write("etc/apk/arch", options_.arch + "\n", 0644); !done) return done;
        text.clear();
        for (const std::string& line : options_.repositories)
            text += line + "\n";
        if (!text.empty())
            if (auto done = root_.write("etc/apk/repositories", text, 0644); !done) return done;
        for (const auto& [name, pem] : options_.keys)
            if (!root_.exists("etc/apk/keys/" + name))
                if (auto done = root_.write("etc/apk/keys/" + name, pem, 0644); !done) return done;
        return {};
    }

    Result<> write_database() {
        std::vector<const Package*> order;
        std::map<std::string, std::string> records;
        std::string triggers;
        for (std::size_t i = 0; i < packages_.size(); ++i) {
            const Package& package = packages_[i].package;
            order.push_back(&package);
            records[package.info.name] =
                installed_record(packages_[i].record, package, installed_[i], failed_[i]);
            if (package.info.triggers.empty()) continue;
            triggers += package.identity;
            for (const std::string& glob : package.info.triggers)
                triggers += " " + glob;
            triggers += "\n";
        }
        std::string all;
        for (const auto& [name, record] : records)
            all += record;
        const std::string folder = "lib/apk/db/";
        if (auto done = root_.write(folder + "scripts.tar", installed_scripts(order), 0644); !done)
            return done;
        if (auto done = root_.write(folder + "triggers", triggers, 0644); !done) return done;
        if (auto done = root_.write(folder + "lock", "", 0600); !done) return done;
        return root_.write(folder + "installed", all, 0644); // last: it says that all is there
    }

    std::vector<ToInstall> packages_;
    RootFiles root_;
    const InstallOptions& options_;
    std::vector<std::string>& notes_;
    std::vector<std::vector<InstalledFile>> installed_; // by package
    std::vector<bool> failed_;                          // its script
    Leftovers leftovers_;                               // of scripts
    std::unordered_map<std::string, std::size_t> owner_;
    std::set<std::string> written_;
    std::map<std::string, std::uint32_t> users_, groups_;
};

} // namespace

Result<> install(std::vector<ToInstall> packages, const std::string& folder,
                 const InstallOptions& options, std::vector<std::string>& notes) {
    auto root = RootFiles::open(folder);
    if (!root) return root.error();
    if (root->exists("lib/apk/db/installed"))
        return Error{folder + ": has packages installed already (lib/apk/db/installed)"};
    Installer installer(std::move(packages), std::move(*root), options, notes);
    if (auto done = installer.plan(); !done) return done;
    return installer.run();
}

} // namespace muster::apk
