#!/bin/bash
# Our packages and the real apk: installed beside OpenRC, made the init and taken back, upgraded,
# removed; and whether /sbin/init was there all the time, as inotify sees it.
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d)
observer=
cleanup() {
    [ -z "$observer" ] || kill "$observer" 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
root=$work/root
shared=${MUSTER_SHARED:-../shared}/alpine
alpine=$shared/v3.19/main
ours=$work/packages

ok() { echo "ok packages: $*"; }
not_ok() { echo "not ok packages: $*"; exit 1; }
# must WHAT COMMAND...: with its output if it fails
must() {
    local what=$1
    shift
    "$@" >"$work/out" 2>&1 || { cat "$work/out"; not_ok "$what"; }
}
apk() {
    "$work/tools/lib/ld-musl-x86_64.so.1" --library-path "$work/tools/lib:$work/tools/usr/lib" \
        "$work/tools/sbin/apk" --root "$root" --keys-dir "$work/keys" --arch x86_64 --no-network \
        --no-cache -X "$(realpath "$alpine")" -X "$ours" "$@"
}
# what /sbin/init is, and what the switch leaves where the others are
init() { readlink "$root/sbin/init"; }
sbin() { (cd "$root/sbin" && find . -printf '%P %l\n' | sort); }

# every file and link that is not ours nor apk's; triggers make the same links again
others() {
    (cd "$root" && find . \( -path ./lib/apk -o -path ./etc/apk -o -path './*/muster' \) -prune -o \
        \( -type f -printf '%P %T@ %s\n' \) -o \( -type l -printf '%P %l\n' \) | sort)
}

[ -e "$alpine/x86_64/APKINDEX.tar.gz" ] || { echo "skip packages: no Alpine packages in $shared"; exit 0; }
[ "$(id -u)" = 0 ] || { echo "skip packages: the real apk runs scripts in another root, as root"; exit 0; }

# --- written ---
must "make packages" make packages
must "a second time" env MUSTER_PACKAGES="$work/again" alpine-packages/build-packages
diff -r build/packages "$work/again" || not_ok "the same input gives other bytes"
ok "the same input gives the same bytes"
must "read by our own reader" build/host/apk_image verify --keys build/packages/keys \
    build/packages/x86_64/*.apk

mkdir "$work/keys"
cp "$shared"/keys/*.pub build/packages/keys/*.pub "$work/keys"
cp -r build/packages "$ours"
must "apk's own packages" build/host/apk_image unpack --mirror "$shared" --key-source "$shared/keys" \
    --cache "$work" --tree "$work/tools" musl apk-tools libcrypto3 libssl3 zlib
mkdir "$root"
must "apk verify" apk verify "$ours"/x86_64/*.apk
ok "apk verify finds nothing wrong"

# --- beside OpenRC ---
must "alpine-base" apk add --initdb alpine-base
before=$(init) sbin_before=$(sbin)
others >"$work/files"

python3 - "$root/sbin" >"$work/observed" <<'PYTHON' &
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
DELETE, MOVED_FROM = 0x200, 0x40
fd = libc.inotify_init()
if libc.inotify_add_watch(fd, sys.argv[1].encode(), DELETE | MOVED_FROM | 0x80) < 0:
    sys.exit("inotify: " + os.strerror(ctypes.get_errno()))
print("watching", flush=True)
while True:
    data = os.read(fd, 65536)
    while data:
        _, mask, _, size = struct.unpack_from("iIII", data)
        name = data[16:16 + size].rstrip(b"\0").decode()
        data = data[16 + size:]
        print("gone" if mask & (DELETE | MOVED_FROM) else "put", name, flush=True)
PYTHON
observer=$!
until grep -q watching "$work/observed"; do kill -0 "$observer" || not_ok "no observer"; done

must "apk add muster" apk add muster
[ "$(init)" = "$before" ] && [ "$(sbin)" = "$sbin_before" ] || not_ok "installing changed /sbin"
others >"$work/files2"
diff "$work/files" "$work/files2" ||
    not_ok "installing changed what belongs to others"
ok "installed beside OpenRC, disturbing nothing"

must "apk add muster-init" apk add muster-init
[ "$(init)" = /usr/libexec/muster/init ] && [ -x "$root$(init)" ] || not_ok "/sbin/init is $(init)"
[ "$(readlink "$root/sbin/reboot")" = /usr/bin/muster ] || not_ok "reboot is not ours"
must "apk add muster-doc" apk add muster-doc
must "the configuration" test -s "$root/etc/muster/boot/10-bus.pr"
audit=$(apk audit --system) && [ -z "$audit" ] || not_ok "apk audit: $audit"
ok "one command makes it the init"

# --- upgraded ---
must "a newer release" env MUSTER_PKGREL=1 MUSTER_PACKAGES="$ours" alpine-packages/build-packages
echo "# changed by a person" >>"$root/etc/muster/core/hostname.pr"
must "apk upgrade" apk upgrade
apk info -v >"$work/out" 2>&1
grep -q '^muster-init-0.1-r1' "$work/out" || { cat "$work/out"; not_ok "not upgraded"; }
[ "$(init)" = /usr/libexec/muster/init ] || not_ok "/sbin/init is $(init) after an upgrade"
grep -q "by a person" "$root/etc/muster/core/hostname.pr" || not_ok "a changed file was replaced"
ok "upgraded; what was changed by hand stays"

# --- back ---
must "apk del muster-init" apk del muster-init
[ "$(init)" = "$before" ] || not_ok "/sbin/init is $(init), not $before"
[ "$(sbin)" = "$sbin_before" ] || not_ok "/sbin is not what it was"
ok "one command gives the old init back"

must "by hand" chroot "$root" /usr/libexec/muster/switch on
[ "$(init)" = /usr/libexec/muster/init ] || not_ok "switch on does nothing"
must "busybox' own links" chroot "$root" /bin/busybox --install -s
[ "$(init)" = /usr/libexec/muster/init ] || not_ok "busybox took /sbin/init"
rm "$root"/etc/muster/core/hostname.pr*
must "apk del muster" apk del muster muster-doc
[ "$(init)" = "$before" ] && [ "$(sbin)" = "$sbin_before" ] || not_ok "removing left /sbin changed"
for left in usr/libexec/muster usr/lib/muster usr/bin/muster etc/muster var/lib/muster; do
    [ ! -e "$root/$left" ] || { find "$root/$left"; not_ok "removing left $left"; }
done
audit=$(apk audit --system) && [ -z "$audit" ] || not_ok "apk audit in the end: $audit"
ok "removed, nothing is left"

touch "$root/sbin/last" && rm "$root/sbin/last"
until grep -q '^gone last' "$work/observed"; do kill -0 "$observer" || not_ok "the observer ended"; done
grep -q '^put init$' "$work/observed" || not_ok "the observer saw no new /sbin/init"
! grep '^gone init$' "$work/observed" || not_ok "/sbin/init was missing"
ok "/sbin/init was never missing"
