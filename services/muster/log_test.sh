#!/bin/sh
# `muster log`: what cannot be shown is said, with the exit status for it.
set -eu
cd "$(dirname "$0")/../.."
muster=build/bin/muster
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
export MUSTER_BUS="$tmp/no-bus"
mkdir "$tmp/logs"
echo '2026-11-22T01:02:03.456789Z stdout[7]: a line' >"$tmp/logs/some.log"

why=
# is STATUS WHAT-IT-SAYS ARGUMENT...: of `muster log ARGUMENT...`, stdout and then stderr
is() {
    code=$1 expected=$2 status=0
    shift 2
    said=$(timeout 20 "$muster" log "$@" 2>"$tmp/errors") || status=$?
    said=$said$(cat "$tmp/errors")
    [ "$said" = "$expected" ] && [ "$status" = "$code" ] && return
    why="$why; log $*: '$said' with status $status, should be '$expected' with $code"
}
line='2026-11-22 01:02:03.456 some[7]: a line'
is 0 "$line" --directory "$tmp/logs"
is 0 "$line" --directory "$tmp/logs" some kernel
is 0 '' --directory "$tmp/logs" --since 2026-11-23 some
is 4 "${line}muster: log: nobody knows nosuch, and nothing is written by it" \
    --directory "$tmp/logs" some nosuch
is 1 "muster: log: $tmp/none: No such file or directory" --directory "$tmp/none"
is 2 "muster: log: service a b: line 1, column 2: more text behind the value" --directory "$tmp/logs" 'a b'
if [ -z "$why" ]; then echo 'ok muster log: what cannot be shown is said'; else
    echo "not ok muster log: what cannot be shown is said: ${why#; }"
fi
