#!/bin/bash
# Packages over HTTP from a mirror with faults: what breaks off goes on, what is wrong is fetched
# again or named, what is there is not fetched twice.
set -u
cd "$(dirname "$0")/.." || exit 1
alpine=$(realpath "${MUSTER_SHARED:-../shared}/alpine")
[ -d "$alpine/v3.19" ] || { echo "skip downloads: no Alpine packages in $alpine"; exit 0; }
command -v curl >/dev/null || { echo "not ok downloads: curl is missing"; exit 1; }
work=$(mktemp -d)
server=
stop() {
    [ -z "$server" ] || { kill "$server"; wait "$server"; } 2>/dev/null
    server=
}
trap 'stop; rm -rf "$work"' EXIT
ok() { echo "ok downloads: $*"; }
not_ok() { cat "$work/output" "$work/log"; echo "not ok downloads: $*"; exit 1; }

# start [FAULT=NAME]...
start() {
    stop
    rm -f "$work/port"
    : >"$work/log"
    mkfifo "$work/started" 2>/dev/null || :
    alpine-packages/test_mirror "$alpine/v3.19/main" "$work/port" "$work/log" "$@" &
    server=$!
    until [ -s "$work/port" ]; do
        kill -0 "$server" 2>/dev/null || { echo "not ok downloads: the mirror does not start"; exit 1; }
        read -r -t 0.05 <>"$work/started" || :
    done
    mirror=http://127.0.0.1:$(cat "$work/port")
}
get() { # WORD...: downloads and checks, into a root of its own
    rm -rf "$work/root"
    timeout 100 env -u http_proxy -u HTTP_PROXY build/host/apk_image install --no-scripts \
        --mirror "$mirror" --keys "$alpine/keys" --cache "$work/cache" --tree "$work/root" "$@" \
        >"$work/output" 2>&1
}
empty() { rm -rf "$work/cache"; }
says() { grep -qF -- "$1" "$work/output" || not_ok "\"$1\" is not said"; }
musl=$(basename "$alpine"/v3.19/main/x86_64/musl-1*.apk)
zlib=$(basename "$alpine"/v3.19/main/x86_64/zlib-1*.apk)

start
get busybox-binsh zlib || not_ok "a good mirror"
says "downloaded "
[ "$(grep -c 'apk -$' "$work/log")" = 4 ] || not_ok "each package once"
: >"$work/log"
get busybox-binsh zlib || not_ok "from the cache"
! grep -q '\.apk' "$work/log" || not_ok "fetched again what was there"
ok "each once, then from the cache"

empty
start "dies=$musl"
get busybox-binsh zlib || not_ok "a mirror that dies in the middle"
[ "$(grep "$musl" "$work/log" | grep -c 'bytes=[1-9]')" = 2 ] || not_ok "went on in the middle twice"
ok "a transfer that breaks off goes on where it stopped"

empty
start "dies=$musl" "whole=$musl"
get busybox-binsh || not_ok "a mirror without ranges"
ok "a mirror that cannot go on in the middle"

empty
start "truncated=$musl"
! get busybox-binsh || not_ok "a truncated file was taken"
says "$musl: "
says "bytes came, the index says"
[ ! -e "$work/root/lib" ] || not_ok "something was written"
start
get busybox-binsh || not_ok "the same later"
grep -q "$musl bytes=[1-9]" "$work/log" || not_ok "did not go on with what there was"
ok "a truncated file is named, and goes on later"

empty
start "changed-once=$zlib"
get zlib || not_ok "a file that was wrong once"
[ "$(grep -c "$zlib" "$work/log")" = 2 ] || not_ok "fetched twice"
ok "a wrong file is fetched again"

empty
start "changed=$zlib"
! get zlib || not_ok "a wrong file was taken"
says "$zlib: "
[ ! -e "$work/root/lib" ] || not_ok "something was written"
ok "a file that stays wrong is named"

empty
start "changed=APKINDEX.tar.gz"
! get zlib || not_ok "a wrong index was taken"
says "APKINDEX.tar.gz: "
ok "a wrong index is named"
