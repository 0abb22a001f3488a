#!/bin/sh
# The real apk, run from its own package, still says what solver_choices.txt says about package sets:
# 6 of the 200, or as many as SOLVER_SETS says (each takes it half a second).
set -eu
cd "$(dirname "$0")/.."
ALPINE=$(realpath "${MUSTER_SHARED:-../shared}/alpine")
export ALPINE
if [ ! -d "$ALPINE/full-index" ]; then
    echo "skip solver: the real apk's choice: no Alpine packages in $ALPINE"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! build/host/apk_image unpack --mirror "$ALPINE" --key-source "$ALPINE/keys" --cache "$work" \
    --tree "$work/apk" musl apk-tools libcrypto3 libssl3 zlib >"$work/output" 2>&1; then
    cat "$work/output"
    echo "not ok solver: the real apk's choice: its packages cannot be unpacked"
    exit 1
fi
APK="$work/apk/lib/ld-musl-x86_64.so.1 --library-path $work/apk/lib:$work/apk/usr/lib"
APK="$APK $work/apk/sbin/apk"
export APK
if alpine-packages/solver_choices check "${SOLVER_SETS:-6}"; then
    echo "ok solver: the real apk chooses what is recorded"
else
    echo "not ok solver: the real apk's choice: it differs, see above"
    exit 1
fi
