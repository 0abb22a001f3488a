#!/bin/sh
# Instructions for each routed message may not grow by more than 10 % over what is recorded in
# `instructions` for the compiler at hand. A lower figure is to be recorded there.
set -eu
cd "$(dirname "$0")/../.."
name="instructions per routed message"
compiler=$(sed -n 's/^HOSTCXX := //p' build/toolchain.mk)
compiler=gcc-$($compiler -dumpversion)
recorded=$(awk -v compiler="${compiler%%.*}" '$1 == compiler { print $2 }' \
    init/protocol/instructions)
if [ -z "$recorded" ]; then
    echo "skip $name: nothing is recorded for ${compiler%%.*} in init/protocol/instructions"
    exit 0
fi
measured=$(build/bench/dataspace build/bin/dataspace - instructions | awk '{ print $2 }')
if [ "${measured:-0}" -gt 0 ] && [ "$measured" -le $((recorded * 110 / 100)) ]; then
    echo "ok $name: $measured, recorded $recorded"
else
    echo "not ok $name: ${measured:-none}, recorded $recorded"
fi
