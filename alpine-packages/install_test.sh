#!/bin/sh
# A root made by `apk_image install` beside one made by the real apk: the same files; and the real
# apk, run in the one of ours, finds nothing wrong and goes on from there.
set -eu
cd "$(dirname "$0")/.."
alpine=$(realpath "${MUSTER_SHARED:-../shared}/alpine")
[ -d "$alpine/v3.19" ] || { echo "skip install: no Alpine packages in $alpine"; exit 0; }
[ "$(id -u)" = 0 ] || { echo "skip install: the real apk runs in another root, as root"; exit 0; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ok() { echo "ok install: $*"; }
not_ok() { cat "$work/output"; echo "not ok install: $*"; exit 1; }
ours() { # COMMAND...: the real apk in our root
    chroot "$work/ours" /usr/bin/env -i PATH=/usr/bin:/bin:/usr/sbin:/sbin timeout 60 "$@" >"$work/output" 2>&1
}
: >"$work/output"
words="alpine-base e2fsprogs sfdisk openssh"
main=$alpine/v3.19/main

# shellcheck disable=SC2086
build/host/apk_image install --mirror "$main" --keys "$alpine/keys" --tree "$work/ours" \
    --repository /repository $words >"$work/output" 2>&1 || not_ok "a base system"
ok "a base system"

build/host/apk_image unpack --mirror "$main" --keys "$alpine/keys" --cache "$work" \
    --tree "$work/apk" musl apk-tools libcrypto3 libssl3 zlib >"$work/output" 2>&1 ||
    not_ok "unpacking apk"
# shellcheck disable=SC2086
"$work/apk/lib/ld-musl-x86_64.so.1" --library-path "$work/apk/lib:$work/apk/usr/lib" \
    "$work/apk/sbin/apk" --root "$work/theirs" --initdb --arch x86_64 --keys-dir "$alpine/keys" \
    -X "$main" --no-network --no-cache add $words >"$work/output" 2>&1 || not_ok "the real apk"
# contents, modes, owners and links; its device nodes come with the kernel, its database may be in
# another order
tree() {
    (cd "$1" && find . \( -path './dev/*' -o -path './lib/apk/db/*' -o -path ./etc/apk/repositories \) \
        -prune -o \( -type f -printf '%p %m %U %G ' -exec sha1sum {} \; -o -printf '%p %y %m %U %G %l\n' \)) |
        sort
}
tree "$work/ours" >"$work/tree.ours"
tree "$work/theirs" >"$work/tree.theirs"
diff "$work/tree.theirs" "$work/tree.ours" >"$work/output" || not_ok "the same files as apk's"
ok "$(wc -l <"$work/tree.ours") files, folders and links, the same as apk's"

mkdir -p "$work/ours/repository/x86_64"
cp "$main"/x86_64/*.apk "$main"/x86_64/APKINDEX.tar.gz "$work/ours/repository/x86_64/"
ours apk info || not_ok "apk info"
[ "$(wc -l <"$work/output")" = "$(grep -c ^P: "$work/theirs/lib/apk/db/installed")" ] || not_ok "apk info"
ours apk audit --system || not_ok "apk audit"
[ ! -s "$work/output" ] || not_ok "apk audit --system finds something"
cp "$work/ours/lib/apk/db/scripts.tar" "$work/scripts"
ours apk fix --no-network || not_ok "apk fix"
! grep -q -e '^(' -e WARNING -e ERROR "$work/output" || not_ok "apk fix has something to do"
ours apk add --no-network --no-cache openssl || not_ok "apk add"
grep -q '^(1/1) Installing openssl' "$work/output" || not_ok "apk add openssl"
ours apk del --no-network openssh || not_ok "apk del"
ours apk audit --system || not_ok "apk audit"
[ ! -s "$work/output" ] || not_ok "apk audit --system finds something afterwards"
ok "apk info, audit, fix, add and del find nothing wrong"
