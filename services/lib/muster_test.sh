#!/bin/sh
# The shell library, spoken to by a server that is this test.
set -u
. "$(dirname "$0")/../testing/server.sh"

try_ready() {
    service - <<'_'
muster_ready
muster_run
_
    grant
    see '[[1 <A <service-state <daemon test> ready> 1>]]'
    ends 0
    silent
}

try_assertions() {
    service - <<'_'
note() {
    case $1 in
    twice) muster_assert facts x '<x 1>'; muster_assert facts 'y z' '{a: [1, 2], b: #{c}}' ;;
    same) muster_assert facts x '<x   1>'; muster_send facts '<done>' ;;
    back) muster_retract x; muster_retract nothing; muster_assert facts 'y z' '"a b"' ;;
    bad) muster_assert facts w '<w' || muster_send facts "$(muster_string 'refused: "<w"')" ;;
    esac
}
muster_assert config early '<early #t>'
muster_send facts '<hello  "world">'
muster_on_message machine '<do ?what>' note
muster_run
_
    grant
    see '[[2 <A <Observe <group <rec do> {0: <bind <_>>}> #:[0 1]> 1>] [1 <A <early #t> 2>] [4 <M <hello "world">>]]'
    say '[[1 <M ["twice"]>]]'
    see '[[4 <A <x 1> 3>] [4 <A {a: [1 2] b: #{c}} 4>]]'
    say '[[1 <M ["same"]>]]'
    see '[[4 <M <done>>]]'
    say '[[1 <M ["back"]>]]'
    see '[[4 <R 3>] [4 <A "a b" 5>] [4 <R 4>]]'
    silent
    say '[[1 <M ["bad"]>]]'
    see '[[4 <M "refused: \"<w\"">]]'
    logged 'muster_assert w: this is not one Preserves value: <w'
    ends 0
}

try_handlers() {
    service - <<'_'
here() { for i; do muster_assert facts "$i" "$(muster_string "+$i")"; done; echo noise; }
gone() { for i; do muster_retract "$i"; done; cat; return 3; }
muster_on machine '<device block _ {DEVNAME: ?name DEVTYPE: ?type}>' here gone
muster_run
_
    grant
    see '[[2 <A <Observe <group <rec device> {0: <lit block> 1: <_> 2: <group <dict> {DEVNAME: <bind <_>> DEVTYPE: <bind <_>>}>}> #:[0 1]> 1>]]'
    say '[[1 <A ["vda", "disk"] 13>], [1 <A ["a\"b\\\u00e9\u20ac\ud83d\ude00\n", <r [1, 2] "s\"">] -23>]]'
    see '[[4 <A "+vda" 2>] [4 <A "+disk" 3>] [4 <A "+a\"b\\é€😀\n" 4>] [4 <A "+<r [1 2] \"s\\\"\">" 5>]]'
    logged noise
    say '[[1 <R 13>]]'
    see '[[4 <R 2>] [4 <R 3>]]'
    say '[[1 <R -23>], [1 <R 99>]]'
    see '[[4 <R 4>] [4 <R 5>]]'
    logged 'muster: gone failed with status 3'
    ends 0
}

try_order() {
    service - <<'_'
here() { muster_send facts "<args $*>"; }
muster_on machine '<d {z: ?a, b: {y: ?b a: [?c ?d]}, "s": ?e} <?f <r ?g>>>' here
muster_on machine '<none =_ =?x "q s" -5>' 'here nothing but'
muster_run
_
    grant
    see '[[2 <A <Observe <group <rec d> {0: <group <dict> {z: <bind <_>> b: <group <dict> {y: <bind <_>> a: <group <arr> {0: <bind <_>> 1: <bind <_>>}>}> "s": <bind <_>>}> 1: <bind <group <rec r> {0: <bind <_>>}>>}> #:[0 1]> 1>] [2 <A <Observe <group <rec none> {0: <lit _> 1: <lit ?x> 2: <lit "q s"> 3: <lit -5>}> #:[0 2]> 2>]]'
    say '[[1 <A [e, c, d, b, a, f, g] 1>]]'
    see '[[4 <M <args a b c d e f g>>]]'
    say '[[2 <A [] 2>]]'
    see '[[4 <M <args nothing but>>]]'
    ends 0
    silent
}

try_oddities() {
    service - <<'_'
here() { muster_send facts "<here $(muster_string "$1")>"; }
muster_on machine '<x ?>' here
muster_run
_
    say ''
    grant
    see '[[2 <A <Observe <group <rec x> {0: <bind <_>>}> #:[0 1]> 1>]]'
    say '#f'
    say '[]'
    say '[[0 <S #:[0 7]>], [1 <S #:[0 8]>]]'
    see '[[7 <M #t>] [8 <M #t>]]'
    say 'garbage'
    say '<do <credit-flow-control 202506>>'
    say '[[1 <A ["a"] 1>], [1 <A ["b"'
    say '[[1 <A ["a"] 1>], [1 <A ["b"]'
    say '[[0 <A <other> 9>], [77 <A [] 3>]]'
    say '[[1 <A [">], [1 <A [x] 3>]"] 5>], [1 <A ["c"] 6>] [1 <A [d] 7>]]'
    see '[[4 <M <here ">], [1 <A [x] 3>]">>] [4 <M <here "c">>] [4 <M <here "d">>]]'
    logged 'ignored: garbage'
    logged 'ignored: <do <credit-flow-control 202506>>'
    logged 'ignored: [[1 <A ["a"] 1>], [1 <A ["b"'
    logged 'ignored: <other>'
    logged 'ignored: an event for the unknown oid 77'
    say '<error "too slow" x>'
    see '(the end)'
    logged 'the server ended the conversation: <error "too slow" x>'
    ends 1
}

try_missing_grant() {
    service - <<'_'
muster_assert system x '<x>'
muster_assert facts y '<y>'
muster_run
_
    say '[[0 <A {config: #:[0 1], facts: #:[0 4]} 7>]]'
    see '[[4 <A <y> 1>]]'
    logged 'no capability system was granted'
    say '[[0 <A {system: #:[0 9]} 8>]]'
    see '[[9 <A <x> 2>]]'
    ends 0
}

try_given_capability() {
    service - <<'_'
meet() { muster_send "$1" '<hello>'; muster_assert "$1" me '<me>'; }
muster_on config '<service-object <daemon other> ?object>' meet 'muster_retract me'
muster_run
_
    grant
    see '[[1 <A <Observe <group <rec service-object> {0: <group <rec daemon> {0: <lit other>}> 1: <bind <_>>}> #:[0 1]> 1>]]'
    say '[[1 <A [#:[0 12]] 3>]]'
    see '[[12 <M <hello>>] [12 <A <me> 2>]]'
    say '[[1 <R 3>]]'
    see '[[12 <R 2>]]'
    ends 0
    silent
}

try_off() {
    service - <<'_'
once() { muster_off "$id"; muster_send facts "<seen $1>"; }
muster_on machine '<x ?>' once
id=$muster_id
muster_run
_
    grant
    see '[[2 <A <Observe <group <rec x> {0: <bind <_>>}> #:[0 1]> 1>]]'
    say '[[1 <A [1] 3>], [1 <A [2] 4>]]'
    see '[[2 <R 1>] [4 <M <seen 1>>]]'
    say '[[1 <R 3>], [1 <R 4>]]'
    ends 0
    silent
}

try_resume() {
    service - <<'_'
here() { muster_send facts "<here $1>"; muster_assert facts "$1" "<seen $1>"; }
gone() { muster_send facts "<gone $1>"; muster_retract "$1"; }
muster_on machine '<x ?>' here gone
muster_ready
muster_run
_
    grant
    see '[[2 <A <Observe <group <rec x> {0: <bind <_>>}> #:[0 1]> 1>] [1 <A <service-state <daemon test> ready> 2>]]'
    say '[[1 <A [a] 1>], [1 <A [b] 2>]]'
    see '[[4 <M <here a>>] [4 <A <seen a> 3>] [4 <M <here b>>] [4 <A <seen b> 4>]]'
    printf '[[1 <A [c] 3' >&5
    say ''
    say '<resume 2>'
    see '<resumed 2>'
    say '[[0 <A {config: #:[0 11], machine: #:[0 12], facts: #:[0 14]} 1>]]'
    see '[[12 <A <Observe <group <rec x> {0: <bind <_>>}> #:[0 1]> 5>] [12 <S #:[0 1]>] [11 <A <service-state <daemon test> ready> 6>] [14 <A <seen a> 7>] [14 <A <seen b> 8>]]'
    say '[[1 <A [b] 2>], [1 <A [d] 9>]]'
    see '[[14 <M <here d>>] [14 <A <seen d> 9>]]'
    say '[[1 <M #t>]]'
    see '[[14 <M <gone a>>] [14 <R 7>]]'
    say '[[1 <R 2>]]'
    see '[[14 <M <gone b>>] [14 <R 8>]]'
    logged 'ignored: [[1 <A [c] 3'
    ends 0
}

try_ticks() {
    service - <<'_'
n=0
tick() { n=$((n + 1)); muster_send facts "<tick $n>"; }
muster_every 1 tick
muster_on machine '<x ?>' 'muster_assert facts x'
muster_run
_
    grant
    see '[[2 <A <Observe <group <rec x> {0: <bind <_>>}> #:[0 1]> 1>] [4 <M <tick 1>>]]'
    see '[[4 <M <tick 2>>]]'
    say '[[1 <A ["<y>"] 3>]]'
    see '[[4 <A <y> 2>]]'
    see '[[4 <M <tick 3>>]]'
    ends 0
    silent
}

try_signals() {
    service - <<'_'
reload() { muster_send facts '<reload>'; }
undo() { echo undone; }
trap reload USR1
trap 'exit 0' TERM
trap undo EXIT
muster_ready
muster_run
_
    grant
    see '[[1 <A <service-state <daemon test> ready> 1>]]'
    kill -USR1 "$child"
    see '[[4 <M <reload>>]]'
    kill -TERM "$child"
    ends 0
    logged undone
}

try_exit_in_handler() {
    service - <<'_'
muster_on machine '<stop>' 'exit 4'
muster_run
_
    grant
    see '[[2 <A <Observe <group <rec stop> {}> #:[0 1]> 1>]]'
    say '[[1 <A [] 1>]]'
    see '(the end)'
    ends 4
}

try_bad_patterns() {
    service - <<'_'
for p in '' '<' '<x' '<x]' '{a}' '{a: b' '#{a}' '<x #:[0 1]>' 'a b' '[1 2' '"x' '<x {?k: 1>'; do
    if muster_on machine "$p" true; then echo "accepted: $p"; fi
done
muster_ready
muster_run
_
    grant
    see '[[1 <A <service-state <daemon test> ready> 1>]]'
    ! grep accepted "$tmp/log" || why=${why:-see above}
    logged 'this is not a pattern: <x]'
    ends 0
}

try_no_protocol() {
    service - <<'_'
muster_ready
muster_run
_
    ends 0
    logged 'nothing came on standard input: does the description say protocol: text/syndicate?'
}

try_long_turn() {
    service - <<'_'
n=0
count() { n=$((n + 1)); }
muster_on machine '<x ?a ?b>' count
muster_on machine '<end>' 'eval muster_send facts "<count $n>"'
muster_run
_
    grant
    see '[[2 <A <Observe <group <rec x> {0: <bind <_>> 1: <bind <_>>}> #:[0 1]> 1>] [2 <A <Observe <group <rec end> {}> #:[0 2]> 2>]]'
    say "[$(i=0; while [ $i -lt 300 ]; do i=$((i + 1)); printf '[1 <A ["/devices/pci0000:00/0000:00:03.0/virtio0/block/vda/vda%d", {DEVTYPE: "partition", MAJOR: "254"}] %d>], ' $i $i; done)[2 <A [] 301>]]"
    see '[[4 <M <count 300>>]]'
    ends 0
    silent
}

run_tests "shell library" ${*:-ready assertions handlers order oddities missing_grant given_capability \
    off resume ticks signals exit_in_handler bad_patterns no_protocol long_turn}
