#!/usr/bin/env bash
# A line of `make bench-packages`: name, ours, peer, ratio (how many times better ours is), tab-separated.
#
#   login    seconds from the initrd's hand-over to a login on the console, from a disk with Alpine's
#            packages and crond
#
# One file system, with alpine-base and Muster in it, is booted by the same kernel and the same initrd:
# once with Muster, once with busybox init and OpenRC, which does the same: sysinit and boot (devices and
# their modules, host name, lo, clock, sysctl, /etc/fstab, seed), crond, one getty. Both ends are lines in
# the kernel's log: one that a script writes before it becomes the init of that disk, one that the program
# writes that getty starts to ask for a name. With us the getty waits until crond runs, as it does there.
# QEMU counts instructions, as in test-vm/bench-boot; CLOCK=wall is the host's clock. When there is nothing
# to do but to wait for the disk, its clock jumps to the next timer; that only ever adds, so the least
# of RUNS of each is what counts.
set -euo pipefail
export TMPDIR=${TMPDIR:-/tmp}
PLACE=vm
# shellcheck source=../test-vm/lib.sh
. "${0%/*}/../test-vm/lib.sh"
trap 'rm -rf "$work"' EXIT
build=$(cd "$test_vm/.." && pwd)/build
runs=${RUNS:-3}
root=$work/root bench=$work/root/usr/lib/bench

[ -s "$build/initrd/source.txt" ] || { echo "login_bench: no Alpine packages" >&2; exit 0; }
read -r mirror options <"$build/initrd/source.txt"
# shellcheck disable=SC2086
"$build/host/apk_image" image --mirror "$mirror" $options --busybox --tree "$root" \
    alpine-base busybox-binsh e2fsprogs
mkdir -p "$bench/busybox" "$root/etc/muster/services" "$root/var/lib/muster"
make -s -C "$build/.." install DESTDIR="$root" >&2
PYTHONPATH=$test_vm python3 -B -c 'import sys; from harness.cpio import unpack; unpack(*sys.argv[1:])' \
    "$build/initrd/root.cpio" "$work/initrd"
mkdir -p "$root/lib/modules"
cp -R "$work/initrd/lib/modules/." "$root/lib/modules/"
echo "LABEL=bench / ext4 rw,relatime 0 1" >"$root/etc/fstab"

for level in sysinit:devfs,dmesg,mdev,hwdrivers boot:modules,hwclock,sysctl,hostname,bootmisc,seedrng,fsck,root,localmount,loopback \
    default:crond; do
    mkdir -p "$root/etc/runlevels/${level%%:*}"
    for service in $(echo "${level#*:}" | tr , ' '); do
        [ ! -e "$root/etc/init.d/$service" ] ||
            ln -s "/etc/init.d/$service" "$root/etc/runlevels/${level%%:*}/$service"
    done
done
cat >"$root/etc/inittab" <<'END'
::sysinit:/sbin/openrc sysinit
::sysinit:/sbin/openrc boot
::wait:/sbin/openrc default
ttyS0::respawn:/sbin/getty -n -l /usr/lib/bench/login -L 0 ttyS0 vt100
END
cat >"$root/usr/lib/muster/base/login-on" <<'END'
#!/bin/sh
exec getty -n -l /usr/lib/bench/login -L 0 "$1" vt100
END
cat >"$root/etc/muster/services/crond.pr" <<'END'
<require-service <daemon crond>>
<daemon crond {argv: ["/usr/sbin/crond" "-f"]}>
<depends-on <daemon <getty "ttyS0">> <service-state <daemon crond> ready>>
END
cat >"$bench/login" <<'END'
#!/bin/sh
echo "bench: login" >/dev/kmsg
echo
dmesg | grep 'bench: '
exec busybox reboot -f
END
ln -s /bin/busybox "$bench/busybox/init"
for kind in ours:/usr/libexec/muster/init peer:/usr/lib/bench/busybox/init; do
    printf '#!/bin/sh\necho "bench: handover" >/dev/kmsg\nexec %s\n' "${kind#*:}" >"$bench/${kind%%:*}"
done
chmod 755 "$bench"/* "$root/usr/lib/muster/base/login-on"
mke2fs -q -F -t ext4 -L bench -d "$root" "$work/disk" 160M

if [ "${CLOCK:-counted}" = counted ]; then
    qemu=$(command -v qemu-system-x86_64) || fail "qemu-system-x86_64 is not installed"
    mkdir "$work/bin"
    printf '#!/bin/sh\nexec %s -icount shift=1,sleep=off "$@"\n' "$qemu" >"$work/bin/${qemu##*/}"
    chmod 755 "$work/bin/${qemu##*/}"
    PATH=$work/bin:$PATH
fi
for ((run = 1; run <= runs; run++)); do
    for kind in ours peer; do
        "$test_vm/machine" --kernel "$build/initrd/vmlinuz" --initrd "$build/initrd/initrd.img" \
            --append "root=LABEL=bench rw init=/usr/lib/bench/$kind nokaslr no_timer_check cryptomgr.notests" \
            --disk "$work/disk,snapshot" --timeout 900 --console "$work/console" </dev/null ||
            fail "$kind: $(cat "$work/console")"
        sed -n 's/^\[ *\([0-9.]*\)\] bench: \([a-z]*\).*/\2 \1/p' "$work/console" |
            awk '{ at[$1] = $2 } END { if (!at["login"]) exit 1; print at["login"] - at["handover"] }' \
            >"$work/$kind-$run" || fail "$kind: $(cat "$work/console")"
        echo "login_bench: run $run of $runs: $kind: $(cat "$work/$kind-$run") s" >&2
        rm "$work/console"
    done
done
awk -v ours="$(sort -n "$work"/ours-* | head -n 1)" -v peer="$(sort -n "$work"/peer-* | head -n 1)" \
    'BEGIN { printf "login\t%.2f\t%.2f\t%.2f\n", ours, peer, peer / ours }'
