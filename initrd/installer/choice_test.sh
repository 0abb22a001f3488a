#!/bin/sh
# Which disk an installation goes onto, and which it goes on with, on files in the place of disks.
set -eu
here=$(cd "${0%/*}" && pwd)
INSTALLER_WORK=$(mktemp -d)
trap 'rm -rf "$INSTALLER_WORK"' EXIT
PATH=$PATH:/usr/sbin:/sbin
command -v busybox >/dev/null || { echo "skip installer choice: no busybox"; exit 0; }
command -v sfdisk >/dev/null || { echo "skip installer choice: no sfdisk"; exit 0; }
INSTALLER_SYS=$INSTALLER_WORK/sys INSTALLER_DEV=$INSTALLER_WORK/dev
export INSTALLER_WORK INSTALLER_SYS INSTALLER_DEV
mkdir -p "$INSTALLER_SYS/block" "$INSTALLER_DEV" "$INSTALLER_WORK/share"
echo "cmdline_at=512 cmdline_size=120" >"$INSTALLER_WORK/share/uki.parts"

# disk NAME MIB [SERIAL]: an empty one
disk() {
    mkdir -p "$INSTALLER_SYS/block/$1"
    rm -f "$INSTALLER_DEV/$1"
    truncate -s "$2M" "$INSTALLER_DEV/$1"
    echo $(($2 * 2048)) >"$INSTALLER_SYS/block/$1/size"
    echo 0 >"$INSTALLER_SYS/block/$1/ro"
    echo "${3:-$1}" >"$INSTALLER_SYS/block/$1/serial"
}
none() { rm -rf "$INSTALLER_SYS"/block/* "$INSTALLER_DEV"/*; }
swapped() { # NAME NAME: as another order of starting would have it
    for folder in "$INSTALLER_SYS/block" "$INSTALLER_DEV"; do
        mv "$folder/$1" "$folder/x" && mv "$folder/$2" "$folder/$1" && mv "$folder/x" "$folder/$2"
    done
}

# run SCRIPT: with the installer's functions. What netlink would assert are the files.
run() {
    busybox ash -uc "
        share=$INSTALLER_WORK/share
        for file in say disks journal answers progress steps choice; do . $here/\$file.sh; done
        there() { [ -f \"\$dev/\$1\" ]; }
        muster() {
            case \$1 in
            list) for name in \$(ls \"\$dev\"); do echo \"DEVNAME: \\\"\$name\\\"\"; done ;;
            wait) echo \"\$*\" >\$work/waited && return 1 ;;
            esac
        }
        known_services() { echo sshd; }
        consoles() { :; }
        $1" 2>&1
}
# check NAME SCRIPT EXPECTED
check() {
    got=$(run "$2") || :
    if [ "$got" = "$3" ]; then echo "ok installer: $1"; else echo "not ok installer: $1: $got"; fi
}
# What the first step does, and its marks.
partitioned='echo "label: gpt
label-id: $(field table)" | sfdisk -q "$dev/$disk" && journal_mark "$disk" done partitions'
going_on='Going on with the installation onto'

# --- what is on a disk ---
disk vda 300
check "an empty disk" "contents vda" ''
head -c 100 /dev/urandom | dd of="$INSTALLER_DEV/vda" bs=1 seek=532480 conv=notrunc status=none
check "a journal that was torn when it was begun is nothing" "contents vda" ''
disk vda 300
printf 'LABELONE' | dd of="$INSTALLER_DEV/vda" bs=512 seek=1 conv=notrunc status=none
check "what nobody knows is not empty" "contents vda" 'vda: unknown contents'
check "nor is it taken for empty" "unattended disk=empty" \
    'disk=empty: 0 disks are empty and large enough:'
check "nor overwritten" "unattended disk=vda" \
    'vda is not empty, and the answers do not say erase=yes: nothing was written.
      vda: unknown contents'
disk vda 300
printf x | dd of="$INSTALLER_DEV/vda" bs=1 seek=$((300 * 1048576 - 4096)) conv=notrunc status=none
check "what lies at the end counts" "contents vda" 'vda: unknown contents'

disk vda 297
check "large enough" "unattended disk=empty" 'Installing onto vda, as the answers say.'
disk vda 300
check "swap counts" "unattended disk=vda,swap=4" \
    'vda is too small: it has 300 MiB, and 301 MiB are needed, 4 of them for swap.'
check "also for the one that is empty" "unattended disk=empty,swap=4" \
    'disk=empty: 0 disks are empty and large enough:'
check "a number that a shell would take for another" "unattended disk=vda,swap=010" \
    'muster.install:2: swap: this cannot be: 010'

# --- what is refused before anything is written ---
none
disk vda 300
long=$(printf '%0100d' 0)
check "more words than the kernel's command line has room for" "unattended disk=vda,append=$long; blank vda && echo blank" \
    "Installing onto vda, as the answers say.
append: the kernel's command line would have 183 characters; 119 are possible.
blank"
check "a disk that does not come" "unattended disk=vdz; cat \$work/waited" 'Waiting for the disk vdz, for 60 s ...
disk=vdz: there is no such disk; there are: vda
wait --timeout 60 <device block _ {DEVNAME: "vdz"}>'

# --- going on ---
for words in disk=empty disk=vda,erase=yes disk=serial:one disk=LABEL=former,erase=yes; do
    none
    disk vda 300 one
    disk vdb 300 other
    printf x | dd of="$INSTALLER_DEV/vdb" conv=notrunc status=none
    run "find_answers $words; disk=vda; begin; $partitioned" >/dev/null
    swapped vda vdb
    check "$words goes on with the disk that it was begun on" "unattended $words" \
        "$going_on vdb, not complete: 1 of 5 steps are done."
done
check "other answers do not" "unattended disk=vdb" \
    'vdb is not empty, and the answers do not say erase=yes: nothing was written.
      vdb: partition table'
run "find_answers disk=LABEL=former,erase=yes; journal_read vdb; disk=vdb; journal_close vdb" >/dev/null
check "what is complete stays so" "unattended disk=LABEL=former,erase=yes" \
    'vdb has been installed with these answers: nothing is left to do.'
disk vda 300
run "find_answers disk=LABEL=former,erase=yes; disk=vda; begin" >/dev/null
check "what is not complete comes first" "unattended disk=LABEL=former,erase=yes" \
    "$going_on vda, not complete: 0 of 5 steps are done."
disk vdc 300
run "find_answers disk=LABEL=former,erase=yes; disk=vdc; begin" >/dev/null
check "of two nobody knows which" "unattended disk=LABEL=former,erase=yes" \
    'Installations with these answers were begun on several disks: vda vdc'

# --- a journal that something else has overtaken ---
for closing in : 'journal_close vda'; do
    none
    disk vda 300
    run "find_answers disk=vda; disk=vda; begin; $partitioned; $closing" >/dev/null
    echo 'label: gpt' | sfdisk -q --force "$INSTALLER_DEV/vda"
    check "a journal of before another system, after $closing" "unattended disk=vda; unfinished || echo none" \
        "vda has the journal of an installation that is there no more.
vda is not empty, and the answers do not say erase=yes: nothing was written.
      vda: partition table
none"
done
disk vda 300
echo 'label: gpt' | sfdisk -q "$INSTALLER_DEV/vda"
run "find_answers disk=vda,erase=yes; disk=vda; begin" >/dev/null
check "a table that is still to be overwritten" "unattended disk=vda,erase=yes" \
    "$going_on vda, not complete: 0 of 5 steps are done."
echo 'label: dos' | sfdisk -q --force "$INSTALLER_DEV/vda"
check "another one" "unattended disk=vda" "vda has the journal of an installation that is there no more.
vda is not empty, and the answers do not say erase=yes: nothing was written.
      vda: partition table"
