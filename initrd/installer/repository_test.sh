#!/bin/bash
# The packages on the installer's medium: the same from a server as from a folder, or none and a reason.
set -eu
cd "$(dirname "$0")/../.."
alpine=$(realpath "${MUSTER_SHARED:-../shared}/alpine")
[ -d "$alpine/v3.19" ] || { echo "skip installer repository: no Alpine packages in $alpine"; exit 0; }
command -v curl >/dev/null || { echo "not ok installer repository: curl is missing"; exit 1; }
unset http_proxy HTTP_PROXY
work=$(mktemp -d)
server=
stop() {
    [ -z "$server" ] || { kill "$server" && wait "$server" || :; } 2>/dev/null
    server=
}
trap 'stop; rm -rf "$work"' EXIT
mkfifo "$work/started"
ok() { echo "ok installer repository: $*"; }
not_ok() { cat "$work/output"; echo "not ok installer repository: $*"; exit 1; }

# made FOLDER MIRROR
made() {
    timeout 100 initrd/installer/repository "$work/$1" e2fsprogs apk-tools busybox -- --mirror "$2" \
        --cache "$work/cache" --arch x86_64 --branch v3.19 --key-source "$alpine/keys" >"$work/output" 2>&1
}
serve() { # FOLDER [FAULT=NAME]...
    stop
    rm -f "$work/port"
    alpine-packages/test_mirror "$1" "$work/port" "$work/log" "${@:2}" &
    server=$!
    until [ -s "$work/port" ]; do
        kill -0 "$server" 2>/dev/null || not_ok "the mirror does not start"
        read -r -t 0.05 <>"$work/started" || :
    done
    mirror=http://127.0.0.1:$(cat "$work/port")
}

made folder "$alpine" || not_ok "from a folder"
[ -s "$work/folder/APKINDEX.tar.gz" ] && ls "$work"/folder/e2fsprogs-libs-*.apk "$work"/folder/ssl_client-*.apk \
    >"$work/output" 2>&1 || not_ok "what they need, and what comes with that"
serve "$alpine"
made server "$mirror" || not_ok "from a server"
diff -r "$work/folder" "$work/server" >"$work/output" || not_ok "not the same"
ok "from a server the same as from a folder"

zlib=$(basename "$alpine"/v3.19/main/x86_64/zlib-1*.apk)
rm -rf "$work/cache"
serve "$alpine" "truncated=$zlib"
! made broken "$mirror" || not_ok "made though a package is broken"
grep -q -F "$zlib" "$work/output" && [ ! -e "$work/broken" ] || not_ok "what is broken is named, nothing is left"
ok "a package that cannot be had ends it"
