# Which disks there are and what is on them. Nothing here writes to a disk.
# shellcheck shell=sh

sys=${INSTALLER_SYS:-/sys} dev=${INSTALLER_DEV:-/dev}
boot_size=264 # MiB: the smallest FAT32 with clusters of 4 KiB

# MiB that a disk must have: with swap as it was asked for, and the least that a root needs.
minimum() { echo $((boot_size + 33 + $(answer swap 0))); }

there() { [ -b "$dev/$1" ]; }

# The names of the disks that netlink asserts, one a line; not those that are no place for a system.
disks() {
    muster list '<device block _ {DEVNAME: ?name DEVTYPE: "disk"}>' |
        sed -n 's/.*DEVNAME: "\([^"]*\)".*/\1/p' | grep -v -E '^(loop|ram|fd|sr|zram|mtdblock|nbd|dm-)' |
        sort
}

# partitions DISK: names, one a line
partitions() {
    for place in "$sys/block/$1/$1"*; do
        [ ! -e "$place/partition" ] || echo "${place##*/}"
    done
}

# partition DISK NUMBER: the name that the kernel gives it
partition() {
    case $1 in
    *[0-9]) echo "$1p$2" ;;
    *) echo "$1$2" ;;
    esac
}

disk_size() { echo $(($(cat "$sys/block/$1/size") / 2048)); } # MiB
read_only() { [ "$(cat "$sys/block/$1/ro")" = 1 ]; }

# What tells this disk from others: its size in sectors and its serial number, or - without one.
identity() {
    serial=
    for file in serial device/serial device/wwid wwid; do
        [ -n "$serial" ] || serial=$(cat "$sys/block/$1/$file" 2>/dev/null) || serial=
    done
    serial=$(echo "$serial" | tr -cs 'A-Za-z0-9._\n-' _)
    echo "$(cat "$sys/block/$1/size") ${serial:--}"
}

# The number that a partition table has; nothing if there is none.
table_id() { sfdisk --disk-id "$dev/$1" 2>/dev/null | tr A-F a-f; }

# zeros DISK FROM COUNT: whether these sectors can be read and hold nothing
zeros() {
    other=$({ dd if="$dev/$1" bs=65536 iflag=skip_bytes,count_bytes skip=$(($2 * 512)) count=$(($3 * 512)) \
        2>/dev/null || echo unreadable; } | tr -d '\0' | head -c 1)
    [ -z "$other" ]
}

# Whether nothing is in the first and in the last MiB, but for the place of our own journal: if that is
# all, then the power went before anything else was written.
blank() { # DISK
    sectors=$(cat "$sys/block/$1/size")
    [ "$sectors" -ge 4096 ] && zeros "$1" 0 1024 && zeros "$1" 1088 960 &&
        zeros "$1" $((sectors - 2048)) 2048
}

# tag NAME LINE: the value of NAME="VALUE" in a line of blkid
tag() { echo " $2" | sed -n "s/.* $1=\"\([^\"]*\)\".*/\1/p"; }

# What a file system's own system calls itself; mounted so that not even a journal is replayed.
system_on() { # DEVICE TYPE
    case $2 in
    ext2) options=ro ;;
    ext[34]) options=ro,noload ;;
    xfs) options=ro,norecovery ;;
    *) return 0 ;;
    esac
    mkdir -p "$work/look"
    mount -t "$2" -o "$options" "$1" "$work/look" 2>/dev/null || return 0
    sed -n 's/^PRETTY_NAME="\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' "$work/look/etc/os-release" \
        "$work/look/usr/lib/os-release" 2>/dev/null | head -n 1
    umount "$work/look"
}

# contents DISK: a line for each thing that is on it; nothing for an empty one
contents() {
    for name in "$1" $(partitions "$1"); do
        line=$(blkid "$dev/$name" 2>/dev/null) || line=
        type=$(tag TYPE "$line") label=$(tag LABEL "$line")
        if [ -n "$type" ]; then
            system=$(system_on "$dev/$name" "$type")
            echo "$name: $type${label:+ \"$label\"}${system:+, $system}"
        elif [ "$name" != "$1" ]; then
            echo "$name: partition of $(($(cat "$sys/class/block/$name/size") / 2048)) MiB"
        elif [ -n "$(sfdisk -d "$dev/$1" 2>/dev/null)" ]; then
            echo "$1: partition table"
        elif ! blank "$1"; then
            echo "$1: unknown contents"
        fi
    done
}

show_disks() {
    list=$(disks)
    [ -n "$list" ] || say "No disk is there."
    for disk in $list; do
        set -- "$(cat "$sys/block/$disk/device/model" 2>/dev/null | tr -s ' ')" "$(identity "$disk")"
        say "  $disk  $(disk_size "$disk") MiB${1:+, $1}, serial ${2#* }$(! read_only "$disk" ||
            echo ', read-only')"
        found=$(contents "$disk")
        if journal_read "$disk"; then
            say "      an installation of \"$(journal_hostname)\", $(journal_summary)"
        elif [ -n "$journal_void" ]; then
            say "      $journal_void"
        fi
        if [ -z "$found" ]; then say "      empty"; else echo "$found" | while IFS= read -r line; do
            say "      $line"
        done; fi
    done
    twins
}

# Names that more than one file system goes by.
twins() {
    for key in LABEL UUID; do
        blkid 2>/dev/null | sed -n "s/.* $key=\"\([^\"]*\)\".*/\1/p" | sort | uniq -d |
            while IFS= read -r name; do
                say "Note: $key=$name is on $(holders "$key" "$name" | paste -sd ' ' - |
                    sed 's/ / and on /g'); name such a device by its path."
            done
    done
}

# holders KEY NAME: the devices that have that LABEL or UUID
holders() {
    blkid 2>/dev/null | grep -F " $1=\"$2\"" | cut -d: -f1 | sort
}

# one_device TEXT: the device that /dev/NAME, UUID=… or LABEL=… means; else says why not and fails
one_device() {
    case $1 in
    /dev/*) found=$1 ;;
    UUID=* | LABEL=*) found=$(holders "${1%%=*}" "${1#*=}") ;;
    *) found=/dev/$1 ;;
    esac
    # shellcheck disable=SC2086
    set -- "$1" $found
    case $# in
    1) say "$1: no device has that name" && return 1 ;;
    2) device=$2 ;;
    *)
        what=$1
        shift
        say "$what is on $(echo "$*" | sed 's/ / and on /g'): nothing tells which is meant; name the device"
        return 1
        ;;
    esac
    [ -b "$device" ] || { say "$1: there is no such device"; return 1; }
}

# usable DISK: whether a system can be put there; says why not
usable() {
    least=$(minimum) swap=$(answer swap 0)
    if ! there "$1" || [ ! -d "$sys/block/$1" ]; then
        say "There is no disk $1."
    elif read_only "$1"; then
        say "$1 is read-only: nothing can be installed there."
    elif [ "$(disk_size "$1")" -lt "$least" ]; then
        [ "$swap" = 0 ] && swap= || swap=", $swap of them for swap"
        say "$1 is too small: it has $(disk_size "$1") MiB, and $least MiB are needed$swap."
    elif grep -q "^$dev/$1[p0-9 ]" /proc/mounts; then
        say "$1 is in use: something of it is mounted."
    else
        return 0
    fi
    return 1
}
