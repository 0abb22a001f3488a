#!/bin/sh
# Steps that begin again after a power cut.
set -eu
here=$(cd "${0%/*}" && pwd)
INSTALLER_WORK=$(mktemp -d)
trap 'rm -rf "$INSTALLER_WORK"' EXIT
command -v busybox >/dev/null || { echo "skip installer steps: no busybox"; exit 0; }
export INSTALLER_WORK

# run SCRIPT: with the installer's functions, and with a root that packages were put into
run() { busybox ash -uc "share=$here; . $here/say.sh; . $here/steps.sh; target=$root; $1" 2>&1; }

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
