#!/bin/bash
# Packages and indexes over HTTP from a mirror with faults: what breaks off goes on, what is wrong is
# fetched again or named, what is there is not fetched twice, what stalls or never ends is ended.
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

served=$alpine/v3.19/main
keys=$alpine/keys
# start [FAULT=NAME]...: a mirror of $served
start() {
    stop
    rm -f "$work/port"
    : >"$work/log"
    mkfifo "$work/started" 2>/dev/null || :
    alpine-packages/test_mirror "$served" "$work/port" "$work/log" "$@" &
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
        --stall 1 --mirror "$mirror" --keys "$keys" --cache "$work/cache" --tree "$work/root" "$@" \
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

# --- indexes ---

empty
start "dies=APKINDEX.tar.gz"
get zlib || not_ok "an index that breaks off twice"
empty
start "busy-once=APKINDEX.tar.gz"
get zlib || not_ok "a server that is busy once"
ok "an index that breaks off or is not given for now is asked for again"

# status_of STATUS PART-OF-THE-MESSAGE FAULT=NAME...: zlib cannot be had
status_of() {
    local want=$1 part=$2 status=0
    shift 2
    empty
    start "$@"
    get zlib || status=$?
    [ $status = "$want" ] || not_ok "$*: status $status"
    says "$mirror"
    says "$part"
    [ -z "$(ls "$work/cache/alpine/index" | grep -v 'gz$')" ] || not_ok "$*: something is left"
}
index=x86_64/APKINDEX.tar.gz
status_of 3 "Operation too slow" "stalls=$index"
[ "$(grep -c "^/$index -$" "$work/log")" = 2 ] || not_ok "one that stalls is not asked for twice"
status_of 3 "error: 503" "busy=$index"
status_of 3 "transfer closed" "breaks=$index"
status_of 3 "a page of a proxy" "page=$index"
status_of 3 "more than 67108864 bytes came" "endless=$index"
ok "an index that cannot be had is an error with the server's words"

# A branch of two repositories, and one of them alone.
mkdir "$work/branch"
ln -s "$alpine/v3.19/main" "$work/branch/main"
served=$work/branch
empty
start
get zlib || not_ok "a branch without community"
ln -s "$alpine/v3.19/main" "$work/branch/community"
status_of 3 "/community/$index: " "breaks=community/$index"
status_of 3 "/main/$index: " "breaks=main/$index"
ok "a second repository is left out if it is absent, not if it breaks"
served=$alpine/v3.19/main

# --- what never ends ---

empty
start "endless=$zlib"
! get zlib busybox-binsh || not_ok "a package without end was taken"
says "$zlib: "
says "bytes came, the index says"
ls "$work"/cache/alpine/packages/*busybox-binsh* >/dev/null || not_ok "the others are not there"
until [ "$(grep -c "^taken of .*$zlib" "$work/log")" = 2 ]; do
    read -r -t 0.05 <>"$work/started" || :
done
# what is under way counts, too
! sed -n 's/^taken of .*: //p' "$work/log" | awk '$1 > 30000000' | grep . || not_ok "too much was taken"
[ "$(du -s "$work/cache" | cut -f1)" -lt 4000 ] || not_ok "too much was kept"
ok "a package that goes on after its end is ended there"

# --- a mirror that moved on ---

served=$work/own
keys=$work/own/keys
mkdir -p "$served/x86_64" "$keys"
openssl genrsa -out "$work/test.rsa" 2048 2>/dev/null
openssl rsa -in "$work/test.rsa" -pubout -out "$keys/test.rsa.pub" 2>/dev/null
publish() { # VERSION: the only one there is
    rm -f "$served"/x86_64/*
    printf 'pkgname = app\npkgver = %s\npkgdesc = x\narch = x86_64\n' "$1" >"$work/info"
    build/host/apk_build package --key "$work/test.rsa" --info "$work/info" \
        --output "$served/x86_64/app-$1.apk" &&
        build/host/apk_build index --key "$work/test.rsa" --output "$served/$index" \
            "$served/x86_64/app-$1.apk" || not_ok "no repository"
}
publish 1-r0
empty
start
get app || not_ok "a package of our own"
rm -rf "$work/cache/alpine/packages" # as if another package was wanted
publish 2-r0
get app || not_ok "a mirror that moved on"
grep -q '^V:2-r0' "$work/root/lib/apk/db/installed" || not_ok "not the new one"
rm -rf "$work/cache/alpine/packages" "$served"/x86_64/*.apk
: >"$work/log"
! get app || not_ok "a package that is not there"
says "app-2-r0.apk: "
says "error: 404"
[ "$(grep -c "^/$index -$" "$work/log")" = 1 ] || not_ok "the index is asked for more than once"
ok "a mirror that moved on is asked for its index again, once"

# --- progress ---

publish 3-r0
empty
timeout 100 env -u http_proxy -u HTTP_PROXY build/host/apk_image unpack --mirror "$mirror" --keys "$keys" \
    --cache "$work/cache" --tree "$work/tree" app >"$work/output" 2>&1 || not_ok "unpack"
[ "$(grep -c '^downloaded .* KiB$' "$work/output")" = 1 ] || not_ok "one line where there is no terminal"
ok "unpack says what it downloaded"
