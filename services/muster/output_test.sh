#!/bin/sh
# What `muster` prints when it cannot be written: that is said, and the exit status is 1.
set -eu
cd "$(dirname "$0")/../.."
muster=build/bin/muster
tmp=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server" && wait "$server"; } || :; rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
mkfifo "$tmp/said"
cat >"$tmp/space.pr" <<END
? <service-state <relay-listener ?where _> ready> [ \$log ! <log "-" {line: <listening \$where>}> ]
END
build/bin/dataspace --no-banner -c "$tmp/space.pr" -s "$tmp/bus" 2>"$tmp/said" &
server=$!
exec 3<"$tmp/said"
while read -r line <&3; do
    case $line in *"listening <unix \"$tmp/bus\""*) break ;; esac
done
export MUSTER_BUS="$tmp/bus"
mkdir "$tmp/logs"
echo '2026-11-22T01:02:03.456789Z stdout[7]: a line' >"$tmp/logs/some.log"

why=
# is WHAT-IT-SAYS-ON-STDERR STATUS COMMAND...; its stdout goes where that of `is` goes.
is() {
    expected=$1 code=$2 status=0
    shift 2
    timeout 20 "$@" 2>"$tmp/errors" || status=$?
    said=$(cat "$tmp/errors")
    [ "$said" = "$expected" ] && [ "$status" = "$code" ] && return
    why="$why; $*: '$said' with status $status, should be '$expected' with $code"
}
tell() { # NAME
    if [ -z "$why" ]; then echo "ok $1"; else echo "not ok $1: ${why#; }"; fi
    why=
}

for path in /etc "$0"; do
    is "muster: cannot reach the system bus $path: Not a socket" 1 "$muster" --bus "$path" status
done
tell 'muster: what is no socket is not waited for'

is "muster: unknown option --nonsense; see muster status --help" 2 "$muster" status some --nonsense
is "muster: unknown option --nonsense; see muster tree --help" 2 "$muster" tree --nonsense
is "muster: unknown option --tree; \`muster --help\` lists them" 2 "$muster" --tree
is 'muster: only wait and resolve take --timeout' 2 "$muster" stop --timeout 3 some
is 'muster: only list, watch, wait, assert and send take --in' 2 "$muster" status --in log
is 'muster: muster help takes one command' 2 "$muster" help status why
for command in status tree 'wait --timeout 1' telinit; do
    # shellcheck disable=SC2086 # words
    "$muster" $command --help >"$tmp/shown"
    "$muster" help ${command%% *} >"$tmp/help"
    [ "$command" = telinit ] || cmp -s "$tmp/shown" "$tmp/help" ||
        why="$why; $command --help is not what help $command says"
done
tell 'muster: an option that a command does not take is named, and where the others are told'

full() { is 'muster: standard output: No space left on device' 1 "$muster" "$@" >/dev/full; }
for command in help 'help why' --help --version 'log --help' 'status --json' 'tree --json' \
    'plot --json' plot graph blame 'top -n 1' 'shutdown --help'; do
    # shellcheck disable=SC2086 # words
    full $command
done
full log --directory "$tmp/logs"
full log --json --directory "$tmp/logs"
full mint --oid '"x"' --phrase y
tell 'muster: output that cannot be written is an error'

is '' 0 "$muster" status --json >&-
is '' 0 "$muster" status --json <&- >&-
timeout 20 "$muster" status --json 2>&- >"$tmp/shown" || why="$why; status $? without stderr"
grep -q '"services"' "$tmp/shown" || why="$why; nothing is shown without stderr"
# Nothing but /dev/null is there while it waits for the bus.
"$muster" wait --in status '<never>' <&- >&- 2>&- &
waiting=$!
until ls -l "/proc/$waiting/fd" | grep -q socket; do :; done
for fd in 0 1 2; do
    to=$(readlink "/proc/$waiting/fd/$fd")
    [ "$to" = /dev/null ] || why="$why; descriptor $fd is $to"
done
kill "$waiting"
wait "$waiting" 2>/dev/null || :
tell 'muster: closed standard descriptors are not taken for the bus'

# With -n it stays on the terminal when it ends.
test-vm/at-terminal "$muster" top -n 1 </dev/null >"$tmp/shown"
grep -q SERVICE "$tmp/shown" || why="$why; nothing is shown"
! grep -qF '[?1049h' "$tmp/shown" || why="$why; the other screen is used"
tell 'muster top -n: what it shows stays on the terminal'
