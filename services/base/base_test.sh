#!/bin/sh
# The shell services of the base system, with functions in place of mount and the like.
set -u
. "$(dirname "$0")/../testing/server.sh"
base=$services/base

grant_system() { say '[[0 <A {config: #:[0 1], machine: #:[0 2], status: #:[0 3], system: #:[0 4]} 7>]]'; }
block='<group <rec device> {0: <lit block> 1: <_> 2: <group <dict> {DEVNAME: <bind <_>>}>}>'
root_asks="[[2 <A <Observe $block #:[0 1]> 1>] [2 <A <Observe <group <rec coldplug-complete> {0: <_>}> #:[0 2]> 2>] [1 <A <service-state <daemon test> ready> 3>]]"

# COMMAND LINE [FUNCTIONS]: mount-root on a machine with vda (no file system), vdb (ext4, label late), vdc.
mount_root() {
    echo "$1" >"$tmp/cmdline"
    rm -rf "$tmp/sysroot" && mkdir -p "$tmp/sysroot/sbin" && : >"$tmp/console"
    printf '#!/bin/sh\n' >"$tmp/sysroot/sbin/init" && chmod +x "$tmp/sysroot/sbin/init"
    prelude <<_
COMMAND_LINE=$tmp/cmdline CONSOLE=$tmp/console SYSROOT=$tmp/sysroot
modprobe() { note modprobe "\$@"; }
mount() { note mount "\$@"; }
umount() { note umount "\$@"; }
command() { [ "\$*" != "-v fsck.ext4" ]; }
blkid() {
    case \$1 in
    /dev/vdb) echo '/dev/vdb: LABEL="late" UUID="0af5-12" TYPE="ext4"' ;;
    /dev/vdc) echo '/dev/vdc: UUID="77" TYPE="vfat"' ;;
    *) return 2 ;;
    esac
}
${2:-}
_
    service "$base/mount-root"
    grant_system
    see "$root_asks"
}
switches="[[4 <M <system switch-root \"TMP/sysroot\" \"INIT\">>]]"
switched() { see "$(echo "$switches" | sed "s|TMP|$tmp|; s|INIT|$1|")"; }

try_root_by_label() {
    mount_root 'quiet root=LABEL=late rw rootflags=noatime'
    say '[[1 <A ["vda"] 1>], [1 <A ["loop0"] 2>], [1 <A ["vdc"] 3>], [2 <A [] 4>]]'
    say '[[1 <A ["vdb"] 5>]]'
    switched /sbin/init
    called 'modprobe -q ext4' "mount -t ext4 -o rw,noatime /dev/vdb $tmp/sysroot"
    grep -q '^mount-root: waiting for LABEL=late$' "$tmp/console" || why=${why:-console: $(cat "$tmp/console")}
    say '[[1 <A ["vdd"] 6>]]'
    ends 0
    silent
}

try_root_by_path() {
    mount_root 'root=/dev/vdc rootfstype=msdos init=/sbin/other'
    say '[[1 <A ["vdb"] 5>], [1 <A ["vdc"] 6>], [0 <S #:[0 9]>]]'
    see '[[9 <M #t>]]'
    called 'modprobe -q msdos' "mount -t msdos -o ro /dev/vdc $tmp/sysroot" "umount $tmp/sysroot"
    grep -q 'has no /sbin/other' "$tmp/console" || why=${why:-console: $(cat "$tmp/console")}
    cp "$tmp/sysroot/sbin/init" "$tmp/sysroot/sbin/other"
    say '[[1 <A ["vdc"] 7>]]'
    switched /sbin/other
    ends 0
}

try_root_by_uuid() {
    mount_root 'root=UUID="0af5-12"'
    say '[[1 <A ["vdc"] 6>], [1 <A ["vdb"] 7>]]'
    switched /sbin/init
    called 'modprobe -q ext4' "mount -t ext4 -o ro /dev/vdb $tmp/sysroot"
    ends 0
    silent
}

# By a copy that ends early: half a root is none.
try_root_in_too_little_memory() {
    mount_root 'root=memory muster.keep=UUID=0af5-12:/etc' '
find() { echo .; }
cpio() {
    cat >/dev/null
    [ -e "$sysroot/room" ] && return
    echo "cpio: write error: No space left on device" >&2
    return 1
}'
    say '[[1 <A ["vdb"] 6>]]'
    say '[[0 <S #:[0 9]>]]'
    see '[[9 <M #t>]]'
    called 'modprobe -q ext4' 'modprobe -q overlay' 'mount -t tmpfs -o mode=755 root '"$tmp/sysroot" "umount $tmp/sysroot"
    grep -q 'into memory: write error: No space left on device; waiting for another UUID=0af5-12' \
        "$tmp/console" || why=${why:-console: $(cat "$tmp/console")}
    : >"$tmp/sysroot/room"
    say '[[1 <A ["vdb"] 7>]]'
    switched /sbin/init
    ends 0
}

try_consoles() {
    echo 'tty0 ttyS0' >"$tmp/active"
    prelude <<_
ACTIVE_CONSOLES=$tmp/active
_
    service "$base/consoles"
    say '[[0 <A {config: #:[0 1], machine: #:[0 2], consoles: #:[0 4]} 7>]]'
    see '[[2 <A <Observe <group <rec device> {0: <lit tty> 1: <_> 2: <group <dict> {DEVNAME: <lit "tty1">}>}> #:[0 1]> 1>] [2 <A <Observe <group <rec device> {0: <lit tty> 1: <_> 2: <group <dict> {DEVNAME: <lit "ttyS0">}>}> #:[0 2]> 2>] [1 <A <service-state <daemon test> ready> 3>]]'
    say '[[2 <A [] 1>]]'
    see '[[4 <A <console "ttyS0"> 4>]]'
    say '[[2 <R 1>]]'
    see '[[4 <R 4>]]'
    ends 0
    silent
}

try_random_seed() {
    prelude <<_
SEED_FOLDER=$tmp/seed
cat() { case \$1 in *.new) ;; *) note fed ;; esac; }
_
    mkdir -p "$tmp/seed"
    echo old >"$tmp/seed/random-seed"
    service "$base/random-seed"
    grant_system
    see '[[1 <A <service-state <daemon test> ready> 1>]]'
    ! grep -qs old "$tmp/seed/random-seed" || why=${why:-the same seed is kept}
    called fed
    kill -TERM "$child"
    ends 0
    [ "$(wc -c <"$tmp/seed/random-seed")" -eq 512 ] || why=${why:-not saved}
    service "$base/random-seed"
    grant_system
    see '[[1 <A <service-state <daemon test> ready> 1>]]'
    ends 0
    called fed
    silent
}

try_filesystems() {
    touch "$tmp/disk" "$tmp/bad"
    cat >"$tmp/fstab" <<_
# comment
tmpfs         $tmp/ram  tmpfs  size=1m          0 0
UUID=1        none      swap   sw               0 0
$tmp/disk     $tmp/data ext4   noatime          0 2
$tmp/bad      $tmp/lost ext4   defaults         0 2
LABEL=gone    /gone     ext4   defaults,nofail  0 2
LABEL=missing /missing  ext4   defaults         0 2
/dev/cdrom    /cdrom    iso9660 noauto,ro       0 0
UUID=2        /         ext4   defaults         0 1
_
    echo "/dev/vda / ext4 ro,relatime 0 0" >"$tmp/mounts"
    prelude <<_
FSTAB=$tmp/fstab MOUNTS=$tmp/mounts PATH=$tmp/bin:\$PATH
mount() { note mount "\$@"; }
swapon() { note swapon "\$@"; }
findfs() { case \$1 in UUID=1) echo /dev/swap ;; UUID=2) echo /dev/vda ;; *) return 1 ;; esac; }
_
    mkdir -p "$tmp/bin"
    cat >"$tmp/bin/fsck.ext4" <<_
#!/bin/sh
echo "fsck \$*" >>$tmp/calls
case \$2 in */bad) exit 4 ;; */disk) exit 1 ;; esac
_
    chmod +x "$tmp/bin/fsck.ext4"
    service "$base/filesystems"
    see 'filesystems: '"$tmp/bad ($tmp/lost) has errors that fsck.ext4 cannot repair by itself: it is left as it is"
    see 'filesystems: LABEL=missing, for /missing, is not there'
    ends 0
    called 'fsck -a /dev/vda' 'mount -o remount,defaults /' "mount -t tmpfs -o size=1m tmpfs $tmp/ram" \
        'swapon /dev/swap' "fsck -a $tmp/disk" "mount -t ext4 -o noatime $tmp/disk $tmp/data" "fsck -a $tmp/bad"
    rm -r "$tmp/bin"
}

run_tests "base system" ${*:-root_by_label root_by_path root_by_uuid root_in_too_little_memory \
    consoles random_seed filesystems}
