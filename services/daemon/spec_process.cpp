// Fields about the process itself: who it is, what it sees, what it may take.
#include <algorithm>
#include <cstdlib>

#include "services/daemon/spec_values.h"

namespace muster::services {

using preserves::Kind;

namespace {

// What `init --exec` knows; there they are looked up anew.
constexpr std::string_view limit_names[] = {
    "as",   "core",   "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue",
    "nice", "nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack"};
constexpr std::string_view namespace_names[] = {"mount",  "net", "ipc", "uts",
                                                "cgroup", "pid", "user"};
constexpr std::string_view capability_names[] = {"chown",
                                                 "dac_override",
                                                 "dac_read_search",
                                                 "fowner",
                                                 "fsetid",
                                                 "kill",
                                                 "setgid",
                                                 "setuid",
                                                 "setpcap",
                                                 "linux_immutable",
                                                 "net_bind_service",
                                                 "net_broadcast",
                                                 "net_admin",
                                                 "net_raw",
                                                 "ipc_lock",
                                                 "ipc_owner",
                                                 "sys_module",
                                                 "sys_rawio",
                                                 "sys_chroot",
                                                 "sys_ptrace",
                                                 "sys_pacct",
                                                 "sys_admin",
                                                 "sys_boot",
                                                 "sys_nice",
                                                 "sys_resource",
                                                 "sys_time",
                                                 "sys_tty_config",
                                                 "mknod",
                                                 "lease",
                                                 "audit_write",
                                                 "audit_control",
                                                 "setfcap",
                                                 "mac_override",
                                                 "mac_admin",
                                                 "syslog",
                                                 "wake_alarm",
                                                 "block_suspend",
                                                 "audit_read",
                                                 "perfmon",
                                                 "bpf",
                                                 "checkpoint_restore"};

template <typename Names>
bool among(const Names& names, std::string_view name) {
    return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

// A name, or a number of a user or group.
bool read_name(SpecReader& r, std::string_view field, View value, std::string& out) {
    if (auto number = value.as_int(); number && *number >= 0 && *number < 0xFFFFFFFF) {
        out = std::to_string(*number);
        return true;
    }
    if (!value.as_text()) return r.wrong(field, value, "a name or a number");
    if (!r.text(field, value, out)) return false;
    if (out.empty() || out.find_first_of(":,") != std::string::npos)
        return r.wrong(field, value, "a name or a number");
    return true;
}

bool read_env(SpecReader& r, std::string_view field, View value) {
    if (!value.is(Kind::dictionary)) return r.wrong(field, value, "a dictionary");
    View name;
    for (View item : value.items()) {
        if (!name.valid()) {
            name = item;
            continue;
        }
        DaemonSpec::Variable variable;
        if (!r.text(field, name, variable.name)) return false;
        if (variable.name.empty() || variable.name.find('=') != std::string::npos)
            return r.wrong(field, name, "the name of a variable");
        if (item.as_bool() == false)
            variable.removed = true;
        else if (!item.as_text())
            return r.wrong(variable.name + ": env", item, "a string or #f");
        else if (!r.text(field, item, variable.value))
            return false;
        r.spec.env.push_back(std::move(variable));
        name = View();
    }
    return true;
}

bool read_dir(SpecReader& r, std::string_view field, View value) {
    if (!r.path(field, value, r.spec.dir)) return false;
    return r.spec.dir.starts_with("/") || r.wrong(field, value, "an absolute path");
}

bool read_clear_env(SpecReader& r, std::string_view field, View value) {
    return r.boolean(field, value, r.spec.clear_env);
}

bool read_user(SpecReader& r, std::string_view field, View value) {
    std::string name;
    if (!read_name(r, field, value, name)) return false;
    if (field == "user") r.rare.user = true;
    r.stub("--" + std::string(field), std::move(name));
    return true;
}

bool read_groups(SpecReader& r, std::string_view field, View value) {
    if (!value.is(Kind::sequence)) return r.wrong(field, value, "a list of names or numbers");
    std::string list;
    for (View item : value.items()) {
        std::string name;
        if (!read_name(r, field, item, name)) return false;
        list += (list.empty() ? "" : ",") + name;
    }
    r.stub("--groups", std::move(list));
    return true;
}

bool read_umask(SpecReader& r, std::string_view field, View value) {
    auto text = value.as_string();
    bool good = text && !text->empty() && text->size() <= 4;
    for (size_t i = 0; good && i < text->size(); ++i)
        good = (*text)[i] >= '0' && (*text)[i] <= '7' && (text->size() < 4 || (*text)[0] == '0');
    if (!good) return r.wrong(field, value, "an octal number in a string, as in \"027\"");
    r.stub("--umask", std::string(*text));
    return true;
}

bool read_nice(SpecReader& r, std::string_view field, View value) {
    int64_t nice = 0;
    if (!r.integer(field, value, -20, 19, nice)) return false;
    r.stub("--nice", std::to_string(nice));
    return true;
}

bool read_oom_score(SpecReader& r, std::string_view field, View value) {
    int64_t score = 0;
    if (!r.integer(field, value, -1000, 1000, score)) return false;
    r.stub("--oom-score", std::to_string(score));
    return true;
}

// Of sizes as SpecReader::size has them.
bool is_at_most(const std::string& soft, const std::string& hard) {
    if (hard == "max" || soft == hard) return true;
    return soft != "max" &&
           std::strtoull(soft.c_str(), nullptr, 10) <= std::strtoull(hard.c_str(), nullptr, 10);
}

bool read_limits(SpecReader& r, std::string_view field, View value) {
    return r.fields(field, value, [&](std::string_view name, View limit) {
        if (!among(limit_names, name)) return false;
        std::string what = std::string(field) + ": " + std::string(name);
        std::string soft, hard;
        bool pair = limit.is(Kind::sequence) && limit.count() == 2;
        if (r.size(what, pair ? limit.at(0) : limit, soft) &&
            (!pair || r.size(what, limit.at(1), hard))) {
            if (pair && !is_at_most(soft, hard)) {
                r.fail(limit, what + ": the soft limit is above the hard one");
                return true;
            }
            auto word = [](const std::string& text) { return text == "max" ? "unlimited" : text; };
            r.stub("--limit", std::string(name) + "=" + word(soft) +
                                  (pair ? ":" + std::string(word(hard)) : ""));
        }
        return true;
    });
}

bool read_env_files(SpecReader& r, std::string_view field, View value) {
    std::vector<std::string> paths;
    if (!r.strings(field, value, paths)) return false;
    for (std::string& path : paths) {
        if (!path.starts_with("/") && !path.starts_with("-/"))
            return r.wrong(field, value, "a list of absolute paths");
        r.stub("--env-file", std::move(path));
    }
    return true;
}

bool read_root(SpecReader& r, std::string_view field, View value) {
    std::string path;
    if (!r.path(field, value, path)) return false;
    if (!path.starts_with("/")) return r.wrong(field, value, "an absolute path");
    r.stub("--root", std::move(path));
    return true;
}

bool read_paths(SpecReader& r, std::string_view field, View value) {
    std::vector<std::string> paths;
    if (!r.strings(field, value, paths)) return false;
    std::string option = field == "readOnly" ? "--read-only" : "--" + std::string(field);
    for (std::string& path : paths) {
        if (!path.starts_with("/") && !path.starts_with("-/"))
            return r.wrong(field, value, "a list of absolute paths");
        r.stub(option, std::move(path));
    }
    return true;
}

bool read_private_tmp(SpecReader& r, std::string_view field, View value) {
    bool on = false;
    if (!r.boolean(field, value, on)) return false;
    if (on) r.stub("--private", "tmp");
    return true;
}

bool read_no_new_privileges(SpecReader& r, std::string_view field, View value) {
    bool on = false;
    if (!r.boolean(field, value, on)) return false;
    if (on) r.stub("--no-new-privileges", "yes");
    return true;
}

// A list of names, joined by commas; `names` are those there are.
template <typename Names>
bool read_name_list(SpecReader& r, std::string_view field, View value, const Names& names,
                    std::string_view what, std::string& list) {
    std::vector<std::string> given;
    if (!r.strings(field, value, given)) return false;
    size_t index = 0;
    for (std::string& name : given) {
        View part = value.at(index++);
        if (what == "a capability") {
            if (name.starts_with("cap_") || name.starts_with("CAP_")) name.erase(0, 4);
            for (char& c : name)
                if (c >= 'A' && c <= 'Z') c |= 0x20;
        }
        if (!among(names, name)) return r.wrong(field, part, what);
        list += (list.empty() ? "" : ",") + name;
    }
    return true;
}

bool read_capabilities(SpecReader& r, std::string_view field, View value) {
    std::string list;
    if (!read_name_list(r, field, value, capability_names, "a capability", list)) return false;
    r.stub("--capabilities", std::move(list));
    return true;
}

bool read_namespaces(SpecReader& r, std::string_view field, View value) {
    std::string list;
    if (!read_name_list(r, field, value, namespace_names,
                        "one of mount, net, ipc, uts, cgroup, pid and user", list))
        return false;
    for (View item : value.items()) {
        if (item.as_text() == "pid") r.rare.pid_namespace = true;
        if (item.as_text() == "net") r.rare.net_namespace = true;
    }
    r.stub("--namespaces", std::move(list));
    return true;
}

// io: {"/dev/vda": {rbps: SIZE wbps: SIZE riops: N wiops: N}} (cgroup-v2.rst, io.max)
bool read_io(SpecReader& r, std::string_view field, View value) {
    if (!value.is(Kind::dictionary)) return r.wrong(field, value, "a dictionary");
    View key;
    for (View item : value.items()) {
        if (!key.valid()) {
            key = item;
            continue;
        }
        RareFields::CgroupSetting setting{"io.max", "", ""};
        if (!r.path(field, key, setting.device)) return false;
        r.fields(field, item, [&](std::string_view name, View limit) {
            if (name != "rbps" && name != "wbps" && name != "riops" && name != "wiops")
                return false;
            std::string text;
            if (r.size(std::string(field) + ": " + std::string(name), limit, text))
                setting.value += " " + std::string(name) + "=" + text;
            return true;
        });
        r.rare.cgroup.push_back(std::move(setting));
        key = View();
    }
    return true;
}

bool read_cgroup(SpecReader& r, std::string_view field, View value) {
    return r.fields(field, value, [&](std::string_view name, View item) {
        std::string what = std::string(field) + ": " + std::string(name);
        std::string text;
        int64_t number = 0;
        auto set = [&](std::string file) {
            r.rare.cgroup.push_back({std::move(file), std::move(text), ""});
        };
        if (name == "memory" || name == "memoryHigh" || name == "memoryLow" || name == "swap") {
            if (r.size(what, item, text))
                set(name == "memory"       ? "memory.max"
                    : name == "memoryHigh" ? "memory.high"
                    : name == "memoryLow"  ? "memory.low"
                                           : "memory.swap.max");
        } else if (name == "pids") {
            if (r.size(what, item, text)) set("pids.max");
        } else if (name == "cpuWeight" || name == "ioWeight") {
            if (r.integer(what, item, 1, 10'000, number)) {
                text = (name == "ioWeight" ? "default " : "") + std::to_string(number);
                set(name == "ioWeight" ? "io.weight" : "cpu.weight");
            }
        } else if (name == "cpu") {
            // Of one processor's time, in periods of 100 ms.
            double share =
                item.as_number().value_or(static_cast<double>(item.as_int().value_or(0)));
            if (share >= 0.01 && share <= 4096) {
                text = std::to_string(static_cast<int64_t>(share * 100'000)) + " 100000";
                set("cpu.max");
            } else {
                r.wrong(what, item, "a number of processors from 0.01 to 4096");
            }
        } else if (name == "io") {
            read_io(r, what, item);
        } else {
            return false;
        }
        return true;
    });
}

bool read_stdin(SpecReader& r, std::string_view field, View value) {
    if (value.is_symbol("null")) return true;
    std::string path;
    if (!value.as_string()) return r.wrong(field, value, "null or the path of a file");
    if (!r.path(field, value, path)) return false;
    if (!path.starts_with("/")) return r.wrong(field, value, "an absolute path");
    r.rare.standard_input = true;
    r.stream("--stdin", std::move(path));
    return true;
}

bool read_output(SpecReader& r, std::string_view field, View value) {
    Output& output = field == "stdout" ? r.rare.standard_output : r.rare.standard_error;
    if (value.is_symbol("log")) return true;
    if (value.is_symbol("null")) {
        output = Output::null;
        return true;
    }
    if (field == "stderr" && value.is_symbol("stdout")) {
        output = Output::standard_output;
        return true;
    }
    bool append = value.is_record("append", 1);
    if ((!append && !value.is_record("file", 1)) || value.count() != 1)
        return r.wrong(field, value,
                       field == "stderr" ? "log, null, stdout, <file \"PATH\"> or <append \"PATH\">"
                                         : "log, null, <file \"PATH\"> or <append \"PATH\">");
    std::string path;
    if (!r.path(field, value.at(0), path)) return false;
    if (!path.starts_with("/")) return r.wrong(field, value.at(0), "an absolute path");
    output = Output::file;
    r.stream("--" + std::string(field), (append ? ">>" : ">") + path);
    return true;
}

bool read_tty(SpecReader& r, std::string_view field, View value) {
    std::string path;
    if (!r.path(field, value, path)) return false;
    if (!path.starts_with("/")) path = "/dev/" + path;
    r.rare.tty = true;
    r.stream("--tty", std::move(path));
    return true;
}

constexpr SpecField table[] = {
    {"capabilities", read_capabilities},
    {"cgroup", read_cgroup},
    {"clearEnv", read_clear_env},
    {"dir", read_dir},
    {"env", read_env},
    {"envFiles", read_env_files},
    {"group", read_user},
    {"groups", read_groups},
    {"hidden", read_paths},
    {"limits", read_limits},
    {"namespaces", read_namespaces},
    {"nice", read_nice},
    {"noNewPrivileges", read_no_new_privileges},
    {"oomScore", read_oom_score},
    {"privateTmp", read_private_tmp},
    {"readOnly", read_paths},
    {"root", read_root},
    {"stderr", read_output},
    {"stdin", read_stdin},
    {"stdout", read_output},
    {"tty", read_tty},
    {"umask", read_umask},
    {"user", read_user},
    {"writable", read_paths},
};

} // namespace

SpecFields process_fields() { return {std::begin(table), std::end(table)}; }

} // namespace muster::services
