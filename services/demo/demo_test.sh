#!/bin/sh
# The demonstration services, with functions in place of mount and the like.
set -u
. "$(dirname "$0")/../testing/server.sh"
demo=$services/demo

try_memory() {
    prelude </dev/null
    service "$demo/memory"
    grant
    see_memory='^\[\[1 <A <service-state <daemon test> ready> 1>\] \[4 <A <memory {available: [0-9]* total: [0-9]*}> 2>\]\]$'
    IFS= read -r line <&6
    echo "$line" | grep -q "$see_memory" || why="got $line"
    ends 0
    silent
}

try_disks() {
    : >"$tmp/mounts"
    prelude <<_
MEDIA=$tmp/media MOUNTS=$tmp/mounts
mount() { note mount "\$@"; [ "\$3" != /dev/vdx ]; }
umount() { note umount "\$@"; [ "\$1" = -l ] || [ "\${1##*/}" != vdb1 ]; }
blkid() {
    case \$1 in
    /dev/vdb1 | /dev/vdx) echo "\$1: TYPE=\"ext4\"" ;;
    /dev/vdb2) echo '/dev/vdb2: TYPE="swap"' ;;
    *) return 2 ;;
    esac
}
_
    service "$demo/disks"
    say '[[0 <A {config: #:[0 1], machine: #:[0 2], mounts: #:[0 4]} 7>]]'
    see '[[2 <A <Observe <group <rec device> {0: <lit block> 1: <_> 2: <group <dict> {DEVNAME: <bind <_>>}>}> #:[0 1]> 1>] [1 <A <service-state <daemon test> ready> 2>]]'
    say '[[1 <A ["vdb"] 1>], [1 <A ["vdb1"] 2>], [1 <A ["vdb2"] 3>], [1 <A ["vdx"] 4>], [1 <A ["loop0"] 5>]]'
    see "[[4 <A <mounted \"/dev/vdb1\" \"$tmp/media/vdb1\"> 3>]]"
    called "mount -o nosuid,nodev /dev/vdb1 $tmp/media/vdb1" "mount -o nosuid,nodev /dev/vdx $tmp/media/vdx"
    logged 'plugged failed with status 1'
    [ -d "$tmp/media/vdb1" ] && [ ! -d "$tmp/media/vdx" ] || why=${why:-folders: $(ls "$tmp/media")}
    say '[[1 <R 1>], [1 <R 2>]]'
    see '[[4 <R 3>]]'
    called "umount $tmp/media/vdb1" "umount -l $tmp/media/vdb1"
    echo "/dev/vdb1 $tmp/media/vdb1 ext4 rw 0 0" >"$tmp/mounts"
    mkdir -p "$tmp/media/vdb1"
    say '[[1 <A ["vdb1"] 9>]]'
    see "[[4 <A <mounted \"/dev/vdb1\" \"$tmp/media/vdb1\"> 4>]]"
    kill -TERM "$child"
    ends 0
    called "umount $tmp/media/vdb1" "umount -l $tmp/media/vdb1"
    [ ! -d "$tmp/media/vdb1" ] || why=${why:-the folder is still there}
}

try_room() {
    prelude <<_
df() { echo Filesystem; echo "/dev/vdb 1000 500 500 50% /media/vdb"; }
_
    service "$demo/room"
    say '[[0 <A {config: #:[0 1], machine: #:[0 2], rooms: #:[0 4]} 7>]]'
    see '[[2 <A <Observe <group <rec memory> {0: <group <dict> {available: <bind <_>> total: <bind <_>>}>}> #:[0 1]> 1>] [2 <A <Observe <group <rec mounted> {0: <_> 1: <bind <_>>}> #:[0 2]> 2>] [1 <A <service-state <daemon test> ready> 3>]]'
    say '[[1 <A [600, 1000] 1>], [2 <A ["/media/vdb"] 2>]]'
    see '[[4 <A <room "/media/vdb" {enough: #t free: 500}> 4>]]'
    say '[[1 <A [400, 1000] 3>], [1 <R 1>]]'
    see '[[4 <A <room "/media/vdb" {enough: #f free: 500}> 5>] [4 <R 4>]]'
    say '[[2 <R 2>]]'
    see '[[4 <R 5>]]'
    ends 0
    silent
}

run_tests "demonstration" ${*:-memory disks room}
