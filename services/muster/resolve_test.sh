#!/bin/sh
# `muster resolve` with a gatekeeper that runs: both spellings of its answers, what is rejected, and
# what is not bound.
set -eu
cd "$(dirname "$0")/../.."
muster=build/bin/muster
tmp=$(mktemp -d)
server=
stop() { [ -z "$server" ] || { kill "$server" && wait "$server"; } || :; server=; }
trap 'stop; rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
mkfifo "$tmp/log"
cat >"$tmp/space.pr" <<END
let ?space = dataspace
\$space += <held 1>
<bind <ref {oid: "here" key: #"hello"}> \$space #f>
<bind <ref {oid: "gate" key: #"inner"}> \$gatekeeper #f>
? <service-state <relay-listener ?where _> ready> [ \$log ! <log "-" {line: <listening \$where>}> ]
END

start() { # OPTION...
    build/bin/dataspace --no-banner -c "$tmp/space.pr" -s "$tmp/socket" "$@" 2>"$tmp/log" &
    server=$!
    exec 3<"$tmp/log"
    while read -r line <&3; do
        case $line in *"listening <unix \"$tmp/socket\""*) return ;; esac
    done
    echo "dataspace ended: $line" >&2
    return 1
}

# is WHAT-IT-SAYS STATUS ARGUMENT...: of `muster resolve --at SOCKET ARGUMENT...`
is() {
    expected=$1 status=0
    code=$2
    shift 2
    said=$(timeout 20 "$muster" resolve --at "$tmp/socket" "$@" 2>&1) || status=$?
    [ "$said" = "$expected" ] && [ "$status" = "$code" ] && return
    why="$why; resolve $*: '$said' with status $status, should be '$expected' with $code"
}

narrowed='<rewrite <rec held [<bind <_>>]> <rec held [<ref 0>]>>'
for spelling in accepted ok; do
    why=
    if [ $spelling = accepted ]; then start; else start --gatekeeper-answers $spelling; fi
    good=$("$muster" mint --oid '"here"' --phrase hello)
    inner=$("$muster" mint --oid '"gate"' --phrase inner)
    bad=$("$muster" mint --oid '"here"' --phrase other)
    none=$("$muster" mint --oid '"nowhere"' --phrase hello)
    is accepted 0 "$good"
    is accepted 0 "$("$muster" attenuate "$good" --caveat "$narrowed")"
    is '<held 1>' 0 "$good" list '<held _>'
    is '' 0 "$good" send '<heard>'
    # Through a gatekeeper behind the gatekeeper.
    is '<held 1>' 0 "<route [<unix \"$tmp/socket\">] $inner $good>" list '<held _>'
    is 'muster: rejected: sturdyref-failed-validation' 1 "$bad"
    is 'muster: rejected: sturdyref-failed-validation' 1 "<route [<unix \"$tmp/socket\">] $inner $bad>"
    is 'muster: nothing is bound for it' 1 --timeout 0.2 "$none"
    stop
    exec 3<&-
    name="muster resolve: a gatekeeper that answers $spelling"
    if [ -z "$why" ]; then echo "ok $name"; else echo "not ok $name: ${why#; }"; fi
done
