#!/bin/bash
# image: seconds that `make image` takes when packages, programs and the initrd are there, against
# writing the bytes of the image with dd and fsync. The best of three of each.
set -eu
cd "$(dirname "$0")/.."
unset MAKEFLAGS MAKELEVEL
trap 'rm -f build/muster.img.copy' EXIT

best() {
    local least=
    for _ in 1 2 3; do
        sync
        local start=$EPOCHREALTIME
        "$@" >/dev/null 2>&1 </dev/null
        local took=$((${EPOCHREALTIME/./} - ${start/./}))
        [ -n "$least" ] && [ "$least" -le "$took" ] || least=$took
    done
    echo "$least"
}

make image >&2
ours=$(best make image)
peer=$(best dd if=build/muster.img of=build/muster.img.copy bs=1M conv=fsync)
awk -v ours="$ours" -v peer="$peer" 'BEGIN {
    printf "image\t%.2f\t%.2f\t%.2f\n", ours / 1e6, peer / 1e6, peer / ours }'
