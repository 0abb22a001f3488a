# Helpers for scenarios of the installer (bash), after lib.sh.
# shellcheck shell=bash

machine=$test_vm/machine
build=$test_vm/../build
[ -s "$build/installer/initrd.img" ] || skip "build/installer/initrd.img is missing: make installer"

ssh-keygen -q -t ed25519 -N '' -f "$work/key"

# new_disk NAME MIB
new_disk() { truncate -s "$2M" "$work/$1"; }

# boot_installer WORDS OPTION...: the medium, with these words on the kernel's command line
boot_installer() {
    local words=$1
    shift
    "$machine" --kernel "$build/initrd/vmlinuz" --initrd "$build/installer/initrd.img" \
        --append "$words" --timeout 800 "$@"
}

# Words for a machine that is emulated (harness/vm.py says why).
quick="nokaslr no_timer_check cryptomgr.notests"

# word TEXT: as it may stand in muster.install=
word() { printf %s "$1" | sed 's/%/%25/g; s/,/%2c/g; s/ /%20/g'; }

# Answers with all that an installation may have to do, but for the disk, and how often that writes to it.
whole="hostname=box,services=sshd,swap=16,user=anna,user-groups=wheel,then=poweroff,append=$(word "$quick")"
whole+=",key=$(word "$(cat "$work/key.pub")"),user-key=$(word "$(cat "$work/key.pub")")"
whole+=",user-password=\$6\$muster\$none"
whole_writes=340

# A port of this machine that nobody has.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# log_in_to FIRMWARE OPTION... <SCRIPT: boots from the disks alone, runs the script there over the
# network, as soon as sshd answers, and powers off
log_in_to() {
    local firmware=$1 port status=1 booted
    shift
    port=$(free_port)
    cat >"$work/script"
    : >"$work/console"
    "$machine" --firmware "$firmware" --forward "$port:22" --console "$work/console" --timeout 800 \
        "$@" & booted=$!
    on_it() {
        ssh -p "$port" -i "$work/key" -o BatchMode=yes -o StrictHostKeyChecking=no -o LogLevel=ERROR \
            -o UserKnownHostsFile=/dev/null -o ConnectTimeout=200 root@127.0.0.1 "$@" 2>"$work/ssh"
    }
    # QEMU itself takes the connection; what is waited for is sshd's answer.
    while kill -0 "$booted" 2>/dev/null; do
        status=0
        on_it sh -eu <"$work/script" || status=$?
        [ "$status" = 255 ] || break
    done
    if [ "$status" != 0 ]; then
        cat "$work/ssh" "$work/console" >&2
        kill "$booted" 2>/dev/null || :
        wait "$booted" || :
        return 1
    fi
    # It may take the connection with it before it has answered.
    on_it muster poweroff </dev/null >/dev/null || :
    wait "$booted"
}

# What must be true besides, with those answers.
looks_whole() {
    cat <<'END'
id -nG anna | grep -q -w wheel
grep -q '^anna:.6.muster' /etc/shadow
[ "$(stat -c %U:%a /home/anna/.ssh/authorized_keys)" = anna:600 ]
muster wait --timeout 60 '<service-state <daemon filesystems> complete>'
grep -q partition /proc/swaps
END
    looks_right
}

# What must be true of a system that was installed.
looks_right() {
    cat <<'END'
muster wait --timeout 120 '<service-state <milestone default> ready>'
[ "$(hostname)" = box ]
grep -q ' / ext4 rw' /proc/mounts
apk info -e openssh-server muster
[ -z "$(apk audit --system)" ] || { apk audit --system >&2; exit 1; }
[ "$(readlink /proc/1/exe)" = /usr/libexec/muster/init ]
echo here
END
}
