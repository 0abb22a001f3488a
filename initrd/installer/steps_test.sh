#!/bin/sh
# Steps that begin again after a power cut, what is said of how far they are and why they failed, the log.
set -eu
here=$(cd "${0%/*}" && pwd)
INSTALLER_WORK=$(mktemp -d)
trap 'rm -rf "$INSTALLER_WORK"' EXIT
command -v busybox >/dev/null || { echo "skip installer steps: no busybox"; exit 0; }
export INSTALLER_WORK

# run SCRIPT: with the installer's functions, and with a root that packages were put into
run() {
    busybox ash -uc "
        share=$here
        for file in say disks journal answers progress steps; do . $here/\$file.sh; done
        : >>\$log
        target=$root disk=vda kmsg=\$work/kmsg
        # the newest messages only
        dmesg() { tail -n 4 \$kmsg; }
        $1" 2>&1
}
# check NAME SCRIPT EXPECTED
check() {
    got=$(run "$2") || :
    if [ "$got" = "$3" ]; then echo "ok installer: $1"; else echo "not ok installer: $1: $got"; fi
}

root=$INSTALLER_WORK/root
mkdir -p "$root/etc" "$root/root/.ssh"
for table in passwd shadow group; do echo "root:$table" >"$root/etc/$table"; done

# What a cut leaves: a user in one table only, a table half written, half a key.
run fresh_tables
echo "anna:passwd" >>"$root/etc/passwd"
echo "root:sha" >"$root/etc/shadow+"
printf 'ssh-ed25519 AAA' >"$root/root/.ssh/authorized_keys"
run fresh_tables
got=$(cd "$root" && cat etc/passwd etc/shadow etc/group && find etc root -type f -name '*[+s]' | sort)
if [ "$got" = 'root:passwd
root:shadow
root:group' ]; then
    echo "ok installer: tables that a power cut left torn are as before"
else
    echo "not ok installer: tables that a power cut left torn are as before: $got"
fi

# --- why a step failed ---
error='I/O error, dev vda, sector 8 op 0x1:(WRITE) flags 0x0'
check "errors of an earlier step are not those of this one" "echo '$error' >\$kmsg; begin_watching two
    write_errors" ''
check "errors that come are seen though older ones are forgotten" "
    for i in 1 2 3; do echo '$error'; done >\$kmsg; begin_watching two; echo >>\$kmsg
    for i in 1 2 3; do echo '$error' >>\$kmsg; done; echo >>\$kmsg; write_errors | wc -l; diagnose two" "3
vda does not take what is written to it: error, dev vda, sector 8."
check "a disk is full in this step, not in an earlier one" ": >\$kmsg; rm \$work/log
    note 'No space left on device'; begin_watching two; note 'it is broken'; diagnose two
    begin_watching two; note 'No space left on device'; diagnose two" "    it is broken
vda is full: choose fewer packages or a larger disk."

# --- how long it takes ---
check "before anything was measured" "steps='partitions packages'; : >\$work/journal; estimate; remaining" \
    'about 18 s'
check "by what was measured before a power cut" "
    printf 'done partitions\ntook-partitions 8\ndone boot-files\ntook-boot-files 28\n' >\$work/journal
    estimate; remaining" 'about 75 s'
check "packages as they come, whatever their scripts say" "now=0; now() { now=\$((now + 2)); }
    { for i in 1 2 3 4 5 6 7 8; do
            echo \"(\$i/8) Installing p\$i (1.0-r0)\"; echo \$((i * i * i * i))/4096; done
        echo '(a/b) c'; echo 1/x; echo /; echo 'OK: all'; } | follow_packages; tail -n 3 \$log" \
    "    2 of 8 packages
    4 of 8 packages, about 2 min
    7 of 8 packages, about 22 s
1/x
/
OK: all"

# --- the log ---
rm -rf "$root/var"
check "the log on the disk has all, from the first try to the last word" "
    mounted() { return 1; }; unmount() { :; }; open_target() { mkdir -p \$target && save_log; }
    blkid() { echo 'x: TYPE=\"ext4\"'; }; root=vda2
    rm \$work/log; note one; open_target; note two; close_target
    # the installer is started again, and makes the file system anew
    rm \$work/log; saved=0; note three; earlier_log; rm -r \$target/var; note four; open_target; note five
    close_target; cat \$target/var/log/muster-install.log" "one
two
three
four
five"
