# Helpers for the scenarios (bash). A scenario reads like a story: what is booted, what is done,
# what must be seen. It waits for assertions, never for time.
# shellcheck shell=bash

set -euo pipefail

test_vm=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PLACE=${PLACE:-namespace}
export TMPDIR=${TMPDIR:-/tmp}
export BOOT_CONSOLES=${BOOT_CONSOLES:-$TMPDIR/consoles}
work=$(mktemp -d "$TMPDIR/work-XXXXXX")
tree=$work/tree        # what `guest` adds to the booted tree
mkdir "$tree"

fail() { echo "$*" >&2; exit 1; }
skip() { echo "$*"; exit 77; }

[ "$PLACE" = vm ] || [ "$(id -u)" = 0 ] || skip "namespaces need root"

boot() { "$test_vm/boot" --in "$PLACE" "$@"; }

# The log of the last console.
console() { tail -n 1 "$BOOT_CONSOLES"; }

# until_console PATTERN: waits until the console of the run that comes next, or is on, says it
until_console() {
    until [ -s "$BOOT_CONSOLES" ]; do :; done
    grep -q -m 1 -e "$1" < <(exec tail -n +1 -F "$(console)" 2>/dev/null)
}

# file NAME <TEXT: into the guest's tree; what begins with #! can be executed
file() {
    mkdir -p "$(dirname "$tree$1")"
    cat >"$tree$1"
    if [ "$(head -c 2 "$tree$1")" = '#!' ]; then chmod 755 "$tree$1"; fi
}

# services NAME <TEXT: a configuration file of the services layer
services() { file "/etc/muster/services/$1.pr"; }

# program NAME SOURCE: a C++ source of this folder, compiled for the guest
program() {
    mkdir -p "$(dirname "$tree$1")"
    "$(awk '{ print $NF; exit }' "$test_vm/../build/toolchain.mk")/bin/musl-c++" -std=c++20 -Os -s \
        -fno-exceptions -fno-rtti "$test_vm/$2" -o "$tree$1"
}

# guest [OPTION...] <SCRIPT: boots with the files so far and runs the script there, as root
guest() {
    local text
    text=$(cat "$test_vm/guest.sh" -)
    boot --add "$tree:/" "$@" -- sh -euc "$text" guest
}
