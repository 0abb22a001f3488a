# Helpers for the scenarios (bash). A scenario reads like a story: what is booted, what is done,
# what must be seen. It waits for assertions, never for time.
# shellcheck shell=bash

set -euo pipefail

test_vm=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source=$(dirname "$test_vm")
PLACE=${PLACE:-namespace}
TMPDIR=${TMPDIR:-/tmp}
files=$(mktemp -d "$TMPDIR/files-XXXXXX")   # what `guest` adds to the tree

fail() { echo "$*" >&2; exit 1; }
skip() { echo "$*"; exit 77; }

boot() { "$test_vm/boot" --in "$PLACE" "$@"; }

# file NAME: puts standard input into the guest's tree; one that begins with #! can be executed
file() {
    mkdir -p "$(dirname "$files$1")"
    cat >"$files$1"
    if [ "$(head -c 2 "$files$1")" = '#!' ]; then chmod 755 "$files$1"; fi
}

# guest [OPTION...] <SCRIPT: boots with the files so far and runs the script there, as root
guest() {
    local script
    script=$(cat "$test_vm/guest.sh" -)
    boot --add "$files:/" "$@" -- sh -eu -c "$script" guest
}
