# Comes before the script of `guest` (lib.sh) and runs in the booted system (busybox sh).
# shellcheck shell=sh

fail() { echo "$*" >&2; muster status >&2 || :; exit 1; }

same() { [ "$2" = "$3" ] || fail "$1: '$2', should be '$3'"; }

# none PATTERN: nothing is asserted that matches
none() { [ -z "$(muster list "$1")" ] || fail "there, but should not be: $(muster list "$1")"; }

# gone PATTERN: waits until nothing matches
gone() { muster wait --gone "$1"; }
