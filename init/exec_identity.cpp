// Users, groups, capabilities. Sources: passwd(5), group(5), capabilities(7), prctl(2).
#include <cerrno>

#include <grp.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "init/exec_order.h"
#include "init/line.h"
#include "init/read_lines.h"

namespace muster::pid1 {

namespace {

constexpr const char* kCapabilities[] = {"chown",
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

std::string_view next_field(std::string_view& line) { return next_part(line, ':'); }

// name:password:UID:GID:comment:home:shell
bool find_user(std::string_view user, Identity& found) {
    std::uint32_t number = 0;
    bool numeric = number_of(user, 10, number);
    LineReader lines("/etc/passwd");
    std::string_view line;
    while (lines.next(line)) {
        std::string_view name = next_field(line);
        next_field(line);
        std::uint32_t uid = 0;
        std::uint32_t gid = 0;
        if (!number_of(next_field(line), 10, uid) || !number_of(next_field(line), 10, gid))
            continue;
        if (numeric ? uid != number : name != user) continue;
        next_field(line);
        std::string_view home = next_field(line);
        std::string_view shell = next_field(line);
        if (!copy_field(found.name, sizeof found.name, name)) return false;
        copy_field(found.home, sizeof found.home, home);
        copy_field(found.shell, sizeof found.shell, shell);
        found.user = uid;
        found.group = gid;
        return true;
    }
    found.user = number;
    found.group = number;
    return numeric;
}

bool find_group(std::string_view group, gid_t& found) {
    std::uint32_t number = 0;
    if (number_of(group, 10, number)) {
        found = number;
        return true;
    }
    LineReader lines("/etc/group");
    std::string_view line;
    while (lines.next(line)) {
        if (next_field(line) != group) continue;
        next_field(line);
        if (!number_of(next_field(line), 10, number)) return false;
        found = number;
        return true;
    }
    return false;
}

void add_group(Identity& identity, gid_t group) {
    for (std::size_t i = 0; i < identity.group_count; ++i)
        if (identity.groups[i] == group) return;
    if (identity.group_count < Identity::max_groups)
        identity.groups[identity.group_count++] = group;
}

// The groups that list the user among their members: name:password:GID:member,member
void add_groups_of_user(Identity& identity) {
    std::string_view name = identity.name;
    LineReader lines("/etc/group");
    std::string_view line;
    while (!name.empty() && lines.next(line)) {
        next_field(line);
        next_field(line);
        std::uint32_t gid = 0;
        if (!number_of(next_field(line), 10, gid)) continue;
        std::string_view members = next_field(line);
        while (!members.empty())
            if (next_part(members, ',') == name) add_group(identity, gid);
    }
}

// The set that `--capabilities` names; one bit each.
std::uint64_t capability_set(const Order& order, std::string_view names) {
    std::uint64_t set = 0;
    while (!names.empty()) {
        std::string_view name = next_part(names, ',');
        std::string_view plain = name;
        if (plain.starts_with("cap_") || plain.starts_with("CAP_")) plain.remove_prefix(4);
        bool found = false;
        for (std::size_t i = 0; i < sizeof kCapabilities / sizeof *kCapabilities; ++i) {
            std::string_view known = kCapabilities[i];
            bool same = known.size() == plain.size();
            for (std::size_t at = 0; same && at < plain.size(); ++at)
                same = known[at] ==
                       (plain[at] >= 'A' && plain[at] <= 'Z' ? plain[at] | 0x20 : plain[at]);
            if (!same) continue;
            set |= std::uint64_t(1) << i;
            found = true;
        }
        if (!found) fail(order, "find capability ", name, EINVAL);
    }
    return set;
}

// Nothing that it executes can ever have more than these.
void bound_capabilities(const Order& order, std::uint64_t set) {
    for (int i = 0; i < 64; ++i) {
        if ((set >> i & 1) != 0) continue;
        if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0) {
            if (errno == EINVAL) return; // there are no more
            fail(order, "limit capabilities", "", errno);
        }
    }
}

void set_capabilities(const Order& order, std::uint64_t set, bool inheritable) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2]{};
    for (int half = 0; half < 2; ++half) {
        auto bits = static_cast<std::uint32_t>(set >> (32 * half));
        data[half].permitted = data[half].effective = bits;
        data[half].inheritable = inheritable ? bits : 0;
    }
    if (syscall(SYS_capset, &header, data) < 0) fail(order, "set capabilities", "", errno);
}

} // namespace

void find_identity(const Order& order, Identity& identity) {
    const char* wanted = order.value("--user");
    std::string_view user = wanted != nullptr ? wanted : "";
    std::string_view group = order.has("--group") ? order.value("--group") : "";
    if (std::size_t colon = user.find(':'); colon != user.npos) {
        group = user.substr(colon + 1);
        user = user.substr(0, colon);
    }
    identity.user = geteuid();
    identity.group = getegid();
    if (wanted != nullptr && !find_user(user, identity)) fail(order, "no user ", user, 0);
    if (!group.empty() && !find_group(group, identity.group)) fail(order, "no group ", group, 0);
    identity.wanted = wanted != nullptr || !group.empty() || order.has("--groups");
    add_group(identity, identity.group);
    if (!order.has("--groups")) {
        if (wanted != nullptr) add_groups_of_user(identity);
        return;
    }
    std::string_view names = order.value("--groups");
    while (!names.empty()) {
        std::string_view name = next_part(names, ',');
        gid_t gid = 0;
        if (!find_group(name, gid)) fail(order, "no group ", name, 0);
        add_group(identity, gid);
    }
}

void take_identity(const Order& order, const Identity& identity, const UserNamespace& users) {
    const char* names = order.value("--capabilities");
    std::uint64_t set = names != nullptr ? capability_set(order, names) : 0;
    const char* user = order.has("--user") ? order.value("--user") : "";
    // Groups that are nobody in there can only be taken on before, capabilities only after.
    if (identity.wanted && setgroups(identity.group_count, identity.groups) < 0)
        fail(order, "set the groups of ", user, errno);
    if (users.wanted()) users.enter(order, identity);
    if (names != nullptr) bound_capabilities(order, set);
    if (identity.wanted) {
        if (setgid(identity.group) < 0) fail(order, "set the group of ", user, errno);
        // Becoming another would drop them.
        if (set != 0 && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
            fail(order, "keep capabilities", "", errno);
        if (setuid(identity.user) < 0) fail(order, "become user ", user, errno);
    }
    if (names == nullptr) return;
    // Root gets what the bounding set leaves when it executes; others what is ambient.
    bool root = identity.user == 0;
    set_capabilities(order, set, !root);
    for (int i = 0; !root && i < 64; ++i)
        if ((set >> i & 1) != 0 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) < 0)
            fail(order, "pass on capability ", kCapabilities[i], errno);
}

} // namespace muster::pid1
