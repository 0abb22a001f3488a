# For tests of shell services, which source this: plays the server to a service, byte for byte, in
# every shell there is. MUSTER_TEST_SHELLS: the shells, one a line. A test is a function try_NAME; it
# prints `ok WHAT: NAME` or `not ok WHAT: NAME: why`. Nothing waits for time, but a guard ends it all.
# shellcheck shell=sh
[ -n "${MUSTER_TEST_GUARD:-}" ] || MUSTER_TEST_GUARD=1 exec timeout 300 "$0" "$@"

services=$(cd "$(dirname "$0")/.." && pwd)
tmp=$(mktemp -d)
child=
# Ends a service that its test did not see end.
finish() {
    exec 5>&- 6<&-
    [ -z "$child" ] || { kill "$child"; wait "$child"; } 2>/dev/null
    child=
}
stop() {
    finish
    rm -rf "$tmp"
}
trap stop EXIT
trap 'exit 1' INT TERM
failed=0

# SCRIPT: starts it as a service, with what `prelude` said before it; or `-`: the text on stdin, with
# the library before it.
service() {
    if [ "$1" = - ]; then
        { echo 'set -eu'; echo ". $services/lib/muster.sh"; cat; } >"$tmp/script"
    else
        { cat "$tmp/prelude"; sed "s|/usr/lib/muster/muster.sh|$services/lib/muster.sh|; s|/usr/lib/muster/base|$services/base|" "$1"; } \
            >"$tmp/script"
    fi
    shift
    rm -f "$tmp/in" "$tmp/out"
    mkfifo "$tmp/in" "$tmp/out"
    MUSTER_LIB=$services/lib MUSTER_SERVICE='<daemon test>' MUSTER_LINGER=0 \
        $shell "$tmp/script" "$@" <"$tmp/in" >"$tmp/out" 2>"$tmp/log" 5>&- 6<&- &
    child=$!
    exec 5>"$tmp/in" 6<"$tmp/out"
}
# What comes before the text of the next services: functions in place of commands that change the
# machine. They note what they were told in $tmp/calls.
prelude() {
    { echo "note() { echo \"\$*\" >>$tmp/calls; }"; cat; } >"$tmp/prelude"
    : >"$tmp/calls"
}
# LINE...: what was noted since the last time.
called() {
    calls=$(cat "$tmp/calls")
    : >"$tmp/calls"
    [ "$calls" = "$(printf '%s\n' "$@")" ] || why="${why:-called: $calls; expected: $*}"
}
grant() { say '[[0 <A {config: #:[0 1], machine: #:[0 2], status: #:[0 3], facts: #:[0 4]} 7>]]'; }
say() { printf '%s\n' "$1" >&5; }
see() {
    if ! IFS= read -r line <&6; then line='(the end)'; fi
    [ "$line" = "$1" ] || why="${why:-expected $1, got $line}"
}
logged() { grep -qF -- "$1" "$tmp/log" || why="${why:-not in the log: $1; but: $(cat "$tmp/log")}"; }
silent() { [ ! -s "$tmp/log" ] || why="${why:-unexpected in the log: $(cat "$tmp/log")}"; }
# Ends the service by the end of its input; its exit status must be $1.
ends() {
    exec 5>&-
    see '(the end)'
    wait "$child"
    status=$?
    child=
    [ $status -eq "$1" ] || why="${why:-exit status $status, expected $1; log: $(cat "$tmp/log")}"
    exec 6<&-
}

# WHAT NAME...: the tests, in every shell.
run_tests() {
    what=$1
    shift
    shells=${MUSTER_TEST_SHELLS:-$(
        for i in 'busybox ash' dash; do command -v "${i%% *}" >/dev/null && echo "$i"; done
    )}
    while IFS= read -r shell <&3; do
        for t; do
            why=
            "try_$t" 3<&-
            if [ -z "$why" ]; then
                echo "ok $what: $t ($shell)"
            else
                echo "not ok $what: $t ($shell): $why"
                failed=1
            fi
            finish
        done
    done 3<<_
$shells
_
    exit $failed
}
