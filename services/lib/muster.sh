# Shell services: a script takes part in the system's dataspaces.
#
#     #!/bin/sh
#     . /usr/lib/muster/muster.sh
#     plugged() { echo "here is $1"; muster_assert facts "disk $1" "<seen $(muster_string "$1")>"; }
#     pulled() { muster_retract "disk $1"; }
#     muster_on machine '<device block _ {DEVNAME: ?name DEVTYPE: "disk"}>' plugged pulled
#     muster_ready
#     muster_run
#
# SPACE is the name of a capability that the service was granted: `config`, `machine`, `status`, or
# what `grant:` in its specification adds. It may also be a capability that a handler was given.
#
#   muster_assert SPACE NAME VALUE   says VALUE until it is retracted or the service ends; the same
#                                    NAME again replaces it without a gap
#   muster_retract NAME              takes it back
#   muster_send SPACE VALUE          sends a message
#   muster_on SPACE PATTERN HERE [GONE]
#                                    runs HERE for each match and GONE when it has gone, both with
#                                    what `?name` stood for in PATTERN, in the order as written;
#                                    strings come as plain text, all else as Preserves text.
#                                    `muster_off $muster_id` ends it.
#   muster_on_message SPACE PATTERN HANDLER
#   muster_every SECONDS HANDLER     at once and then every so many (whole) seconds
#   muster_after SECONDS HANDLER     once
#   muster_state STATE               the state of this service; `muster_ready` is `muster_state ready`
#   muster_string TEXT               prints TEXT as a Preserves string, for use in VALUE and PATTERN
#   muster_run                       serves until the end; returns when the server has gone
#
# A pattern is a value with `_` for anything and `?name` for what the handler is to get;
# `<?name PATTERN>` hands over the whole that PATTERN matches, `=_` is the symbol `_` itself.
# Records, sequences and dictionaries match also when they hold more than the pattern says.
#
# HANDLER is a function or command, with arguments of its own if need be. What it says leaves
# together, in one turn, when it returns. If it fails, a line says so and the service goes on; it may
# `exit`. Its output goes to the log. What is said before muster_run is kept until the capabilities
# are there. To undo things when the service is stopped: trap 'exit 0' TERM; trap undo EXIT
#
# Works in busybox ash and dash, also under `set -eu`. Names that begin with `_m_` are the library's,
# and the descriptors 8 and 9: the protocol is on them, so that no command can read or write it by
# mistake. Protocol: text syntax, one packet a line; `<resume EPOCH>` after the second stage was
# restarted is answered by `<resumed EPOCH>` and everything is said and asked anew.

exec 8<&0 9>&1 </dev/null 1>&2

. "${MUSTER_LIB:-/usr/lib/muster}/preserves.sh"

_m_caps=' '       # " NAME=OID NAME=OID "
_m_out=           # events of the turn under way
_m_granted=       # set once the capabilities are there
_m_queue=         # messages sent before that: SPACE, tab, VALUE, newline
_m_handle=0       # last handle used
_m_names=$_m_nl   # assertions: NAME, tab, number, newline
_m_assertion=0    # last number
_m_observers=     # live oids
_m_oid_last=0
_m_timers=
_m_timer=0
_m_partial=
_m_ended=
_m_waiting=
_m_ticker=
muster_id=

# What is said.

# SPACE: its oid into _m_oid.
_m_cap() {
    case $1 in
    '#:[0 '*']') _m_oid=${1#'#:[0 '}; _m_oid=${_m_oid%']'}; return 0 ;;
    esac
    case $_m_caps in
    *" $1="*) _m_oid=${_m_caps#*" $1="}; _m_oid=${_m_oid%% *} ;;
    *) _m_log "no capability $1 was granted"; return 1 ;;
    esac
}

_m_say() {
    _m_out="$_m_out${_m_out:+ }$1"
    [ -z "$_m_waiting" ] || _m_flush
}

_m_flush() {
    [ -n "$_m_out" ] || return 0
    _m_sent=$_m_out _m_out= # one command: a trap may come between two
    printf '[%s]\n' "$_m_sent" >&9
}

muster_assert() {
    _m_one_value "$3" "muster_assert $2" || return 1
    case $_m_names in
    *"$_m_nl$2$_m_tab"*)
        _m_n=${_m_names#*"$_m_nl$2$_m_tab"} _m_n=${_m_n%%"$_m_nl"*}
        eval "[ \"\$_m_a_value_$_m_n\" = \"\$_m_val\" ] && [ \"\$_m_a_space_$_m_n\" = \"\$1\" ]" &&
            return 0
        eval "_m_old_handle=\$_m_a_handle_$_m_n _m_old_oid=\$_m_a_oid_$_m_n"
        ;;
    *)
        _m_n=$((_m_assertion += 1)) _m_old_handle=
        _m_names=$_m_names$2$_m_tab$_m_n$_m_nl
        ;;
    esac
    eval "_m_a_space_$_m_n=\$1 _m_a_value_$_m_n=\$_m_val _m_a_handle_$_m_n= _m_a_oid_$_m_n="
    _m_place_assertion "$_m_n"
    [ -z "$_m_old_handle" ] || _m_say "[$_m_old_oid <R $_m_old_handle>]"
}

_m_place_assertion() {
    [ -n "$_m_granted" ] || return 0
    eval "_m_space=\$_m_a_space_$1 _m_val=\$_m_a_value_$1"
    _m_cap "$_m_space" || return 0
    eval "_m_a_handle_$1=$((_m_handle += 1)) _m_a_oid_$1=$_m_oid"
    _m_say "[$_m_oid <A $_m_val $_m_handle>]"
}

muster_retract() {
    case $_m_names in *"$_m_nl$1$_m_tab"*) ;; *) return 0 ;; esac
    _m_n=${_m_names#*"$_m_nl$1$_m_tab"}
    _m_names=${_m_names%%"$_m_nl$1$_m_tab"*}$_m_nl${_m_n#*"$_m_nl"}
    _m_n=${_m_n%%"$_m_nl"*}
    eval "_m_old_handle=\$_m_a_handle_$_m_n _m_old_oid=\$_m_a_oid_$_m_n"
    unset "_m_a_space_$_m_n" "_m_a_value_$_m_n" "_m_a_handle_$_m_n" "_m_a_oid_$_m_n"
    [ -z "$_m_old_handle" ] || _m_say "[$_m_old_oid <R $_m_old_handle>]"
}

muster_send() {
    _m_one_value "$2" muster_send || return 1
    if [ -z "$_m_granted" ]; then
        _m_queue=$_m_queue$1$_m_tab$_m_val$_m_nl
    elif _m_cap "$1"; then
        _m_say "[$_m_oid <M $_m_val>]"
    else
        return 1
    fi
}

muster_state() { muster_assert config 'service state' "<service-state ${MUSTER_SERVICE:?is not set} $1>"; }
muster_ready() { muster_state ready; }

# What is asked for.

muster_on() {
    if ! _m_pattern "$2"; then
        _m_log "this is not a pattern: $2"
        return 1
    fi
    muster_id=$((_m_oid_last += 1))
    _m_observers="$_m_observers $muster_id"
    eval "_m_o_space_$muster_id=\$1 _m_o_wire_$muster_id=\$_m_wire _m_o_order_$muster_id=\$_m_order \
        _m_o_here_$muster_id=\$3 _m_o_gone_$muster_id=\${4:-} _m_o_message_$muster_id= \
        _m_o_handles_$muster_id= _m_o_stale_$muster_id= _m_o_handle_$muster_id="
    _m_place_observer "$muster_id"
}

muster_on_message() {
    muster_on "$1" "$2" '' '' || return 1
    eval "_m_o_message_$muster_id=\$3"
}

muster_off() {
    eval "_m_old_handle=\${_m_o_handle_$1:-} _m_old_oid=\${_m_o_oid_$1:-} _m_live=\${_m_o_handles_$1:-}"
    for _m_h in $_m_live; do unset "_m_c_${1}_$_m_h"; done
    unset "_m_o_space_$1" "_m_o_wire_$1" "_m_o_order_$1" "_m_o_here_$1" "_m_o_gone_$1" \
        "_m_o_message_$1" "_m_o_handles_$1" "_m_o_stale_$1" "_m_o_handle_$1" "_m_o_oid_$1"
    _m_live=
    for _m_i in $_m_observers; do [ "$_m_i" = "$1" ] || _m_live="$_m_live $_m_i"; done
    _m_observers=$_m_live
    [ -z "$_m_old_handle" ] || _m_say "[$_m_old_oid <R $_m_old_handle>]"
}

# After a resume there may be matches of before: the sync tells when all that are there were named.
_m_place_observer() {
    [ -n "$_m_granted" ] || return 0
    eval "_m_space=\$_m_o_space_$1 _m_wire=\$_m_o_wire_$1 _m_stale=\$_m_o_stale_$1"
    _m_cap "$_m_space" || return 0
    eval "_m_o_handle_$1=$((_m_handle += 1)) _m_o_oid_$1=$_m_oid"
    _m_say "[$_m_oid <A <Observe $_m_wire #:[0 $1]> $_m_handle>]"
    [ -z "$_m_stale" ] || _m_say "[$_m_oid <S #:[0 $1]>]"
}

# Time.

muster_every() { _m_add_timer 0 "$1" "$2"; }
muster_after() { _m_add_timer "$1" '' "$2"; }

# DELAY PERIOD HANDLER, in seconds.
_m_add_timer() {
    _m_now
    _m_timers="$_m_timers $((_m_timer += 1))"
    eval "_m_t_due_$_m_timer=$((_m_time + $1 * 100)) _m_t_period_$_m_timer=\$2 _m_t_do_$_m_timer=\$3"
}

# Hundredths of a second since the system was started, into _m_time.
_m_now() {
    read -r _m_up _m_idle </proc/uptime
    _m_time=$((${_m_up%.*} * 100 + 1${_m_up#*.} - 100))
}

# Runs what is due; _m_wait: seconds to the next timer, at least 1, or empty.
_m_run_timers() {
    _m_wait=
    [ -n "$_m_timers" ] || return 0
    _m_now
    set -- $_m_timers
    for _m_i; do
        eval "[ \$_m_t_due_$_m_i -le $_m_time ]" || continue
        eval "_m_handler=\$_m_t_do_$_m_i _m_period=\$_m_t_period_$_m_i"
        if [ -n "$_m_period" ]; then
            eval "_m_t_due_$_m_i=$((_m_time + _m_period * 100))"
        else
            _m_live=
            for _m_j in $_m_timers; do [ "$_m_j" = "$_m_i" ] || _m_live="$_m_live $_m_j"; done
            _m_timers=$_m_live
            unset "_m_t_due_$_m_i" "_m_t_do_$_m_i" "_m_t_period_$_m_i"
        fi
        _m_run
        _m_flush
    done
    _m_now
    for _m_i in $_m_timers; do
        eval "_m_left=\$(((_m_t_due_$_m_i - _m_time + 99) / 100))"
        [ "$_m_left" -ge 1 ] || _m_left=1
        [ -n "$_m_wait" ] && [ "$_m_wait" -le "$_m_left" ] || _m_wait=$_m_left
    done
}

# What comes in.

# Runs $_m_handler with the arguments, away from the protocol's descriptors.
_m_run() {
    $_m_handler "$@" 8<&- 9>&- || _m_log "$_m_handler failed with status $?"
}

# HANDLER ORDER CAPTURES
_m_call() {
    [ -n "$1" ] || return 0
    _m_handler=$1 _m_order=$2 _m_rest=$3
    set --
    _m_token
    while _m_token && [ "$_m_tok" != ']' ]; do
        case $_m_tok in
        \"*) _m_unquote "$_m_tok"; set -- "$@" "$_m_text" ;;
        *) _m_value_on; set -- "$@" "$_m_val" ;;
        esac
    done
    [ -z "$_m_order" ] || eval "set -- $_m_order"
    _m_run "$@"
}

# The capabilities, and whatever waited for them.
_m_grant() {
    _m_rest=$1
    _m_token
    while _m_token && [ "$_m_tok" != '}' ]; do
        _m_key=$_m_tok
        _m_token && _m_value || return 0
        case $_m_val in
        '#:[0 '*) _m_oid=${_m_val#'#:[0 '}; _m_caps=" $_m_key=${_m_oid%']'}$_m_caps" ;;
        esac
    done
    _m_granted=1
    for _m_id in $_m_observers; do
        eval "_m_old_handle=\$_m_o_handle_$_m_id"
        [ -n "$_m_old_handle" ] || _m_place_observer "$_m_id"
    done
    _m_left=${_m_names#"$_m_nl"}
    while [ -n "$_m_left" ]; do
        _m_n=${_m_left%%"$_m_nl"*} _m_left=${_m_left#*"$_m_nl"}
        _m_n=${_m_n##*"$_m_tab"}
        eval "_m_old_handle=\$_m_a_handle_$_m_n"
        [ -n "$_m_old_handle" ] || _m_place_assertion "$_m_n"
    done
    while [ -n "$_m_queue" ]; do
        _m_val=${_m_queue%%"$_m_nl"*} _m_queue=${_m_queue#*"$_m_nl"}
        _m_cap "${_m_val%%"$_m_tab"*}" && _m_say "[$_m_oid <M ${_m_val#*"$_m_tab"}>]"
    done
    return 0
}

# The second stage is a new one: what we were given is void, what we saw is in doubt.
_m_resume() {
    printf '<resumed %s>\n' "$1" >&9
    _m_out= _m_caps=' ' _m_granted= _m_queue=
    for _m_id in $_m_observers; do
        eval "_m_live=\$_m_o_handles_$_m_id _m_stale=\$_m_o_stale_$_m_id \
            _m_o_handles_$_m_id= _m_o_handle_$_m_id="
        for _m_h in $_m_live; do
            eval "_m_stale=\$_m_stale\$_m_nl\$_m_c_${_m_id}_$_m_h\$_m_nl"
            unset "_m_c_${_m_id}_$_m_h"
        done
        eval "_m_o_stale_$_m_id=\$_m_stale"
    done
    _m_left=${_m_names#"$_m_nl"}
    while [ -n "$_m_left" ]; do
        _m_n=${_m_left%%"$_m_nl"*} _m_left=${_m_left#*"$_m_nl"}
        eval "_m_a_handle_${_m_n##*"$_m_tab"}="
    done
}

# OID: what was there before the resume and did not come again has gone. Others that resume get
# MUSTER_LINGER seconds (5) to come back before we believe it.
_m_settle() {
    eval "_m_stale=\${_m_o_stale_$1:-} _m_o_stale_$1="
    while [ -n "$_m_stale" ]; do
        _m_stale=${_m_stale#"$_m_nl"}
        _m_text=${_m_stale%%"$_m_nl"*} _m_stale=${_m_stale#*"$_m_nl"}
        eval "set -- \"$1\" \"\$_m_o_gone_$1\" \"\$_m_o_order_$1\" \"\$_m_text\" \"\$_m_stale\""
        _m_call "$2" "$3" "$4"
        _m_stale=$5
    done
}

# OID KIND BODY HANDLE
_m_event() {
    case $2 in
    S)
        case $3 in
        '#:[0 '*']') _m_oid=${3#'#:[0 '}; _m_say "[${_m_oid%']'} <M #t>]" ;;
        *) _m_log "ignored: sync with $3" ;;
        esac
        return 0
        ;;
    esac
    if [ "$1" = 0 ]; then
        case $2$3 in
        'A{'*) _m_grant "$3" ;;
        R*) ;;
        *) _m_log "ignored: $3" ;;
        esac
        return 0
    fi
    eval "_m_space=\${_m_o_space_$1:-}"
    if [ -z "$_m_space" ]; then
        [ "$1" -le $_m_oid_last ] || _m_log "ignored: an event for the unknown oid $1"
        return 0
    fi
    case $2$3 in
    A'['*)
        eval "_m_c_${1}_$4=\$3 _m_o_handles_$1=\"\$_m_o_handles_$1 $4\" _m_stale=\$_m_o_stale_$1"
        case $_m_stale in
        *"$_m_nl$3$_m_nl"*)
            _m_stale=${_m_stale%%"$_m_nl$3$_m_nl"*}${_m_stale#*"$_m_nl$3$_m_nl"}
            eval "_m_o_stale_$1=\$_m_stale"
            ;;
        *) eval "_m_call \"\$_m_o_here_$1\" \"\$_m_o_order_$1\" \"\$3\"" ;;
        esac
        ;;
    R*)
        eval "_m_val=\${_m_c_${1}_$4:-} _m_live=\$_m_o_handles_$1 _m_stale="
        [ -n "$_m_val" ] || return 0
        unset "_m_c_${1}_$4"
        for _m_h in $_m_live; do [ "$_m_h" = "$4" ] || _m_stale="$_m_stale $_m_h"; done
        eval "_m_o_handles_$1=\$_m_stale"
        eval "_m_call \"\$_m_o_gone_$1\" \"\$_m_o_order_$1\" \"\$_m_val\""
        ;;
    'M#t')
        case ${MUSTER_LINGER:=5} in
        0) _m_settle "$1" ;;
        *) muster_after "$MUSTER_LINGER" "_m_settle $1" ;;
        esac
        ;;
    M'['*) eval "_m_call \"\$_m_o_message_$1\" \"\$_m_o_order_$1\" \"\$3\"" ;;
    *) _m_log "ignored: $3" ;;
    esac
}

# The next event of a turn, `[OID <A BODY HANDLE>]` and so on, off _m_rest: into _m_oid, _m_kind,
# _m_val, _m_number.
_m_read_event() {
    _m_number=
    _m_token && [ "$_m_tok" = '[' ] && _m_token && _m_oid=$_m_tok || return 1
    _m_token && [ "$_m_tok" = '<' ] && _m_token && _m_kind=$_m_tok || return 1
    case $_m_kind in
    A) _m_value && _m_token && _m_number=$_m_tok || return 1 ;;
    R) _m_val= && _m_token && _m_number=$_m_tok || return 1 ;;
    M | S) _m_value || return 1 ;;
    *) return 1 ;;
    esac
    case $_m_oid$_m_number in *[!0-9-]*) return 1 ;; esac
    case $_m_number in -*) _m_number=_${_m_number#-} ;; esac # part of a variable's name
    _m_token && [ "$_m_tok" = '>' ] && _m_token && [ "$_m_tok" = ']' ]
}

# A whole turn is read before any of it is acted upon: a line may be cut off by a crash of the
# server. Long turns would take long, so they are cut at what separates events; where that stands in
# a string, the piece is not an event yet and the next one is added.
_m_turn() {
    _m_more=${1#'['} _m_piece=
    case $_m_more in *']') _m_more=${_m_more%']'} ;; *) return 1 ;; esac
    set --
    while :; do
        _m_rest=$_m_piece
        if [ -n "$_m_piece" ] && _m_read_event; then
            set -- "$@" "$_m_oid" "$_m_kind" "$_m_val" "$_m_number"
            _m_piece=${_m_rest#"${_m_rest%%[!, ]*}"}
            continue
        fi
        case $_m_more in
        *'>], ['*)
            _m_piece="$_m_piece${_m_more%%'>], ['*}>]"
            _m_more=", [${_m_more#*'>], ['}"
            ;;
        *[!\ ]*) _m_piece=$_m_piece$_m_more _m_more= ;;
        *) break ;;
        esac
    done
    [ -z "$_m_piece" ] || return 1
    while [ $# -gt 0 ]; do
        _m_event "$1" "$2" "$3" "$4"
        shift 4
    done
}

_m_packet() {
    case $_m_line in
    '' | '#f') ;;
    '['*) _m_turn "$_m_line" || _m_log "ignored: $_m_line" ;;
    '<resume '*'>') _m_line=${_m_line#'<resume '}; _m_resume "${_m_line%'>'}" ;;
    '<error '*) _m_log "the server ended the conversation: $_m_line"; return 1 ;;
    *) _m_log "ignored: $_m_line" ;;
    esac
}

# Waits for a line or the next timer; _m_line is empty if no line came. Fails at the end of input,
# which has to be told from a signal that has a trap: that ends a read as well.
if (read -t 0 _m_line) </dev/null 2>/dev/null; then
    # Busybox loses a line that the time-out cuts in two: only its first character has one. Its
    # `read -t 0` says whether there is anything, the end included.
    _m_next_line() {
        _m_part= _m_line=
        if [ -n "$_m_wait" ] && ! read -t 0 _m_line <&8; then
            IFS= read -r -t "$_m_wait" -n 1 _m_part <&8 || return 0
            [ -n "$_m_part" ] || return 0
        fi
        if IFS= read -r _m_line <&8; then
            _m_line=$_m_part$_m_line
        else
            _m_line=
            ! read -t 0 _m_part <&8 || IFS= read -r _m_line <&8
        fi
    }
else
    # dash: its read has no time-out, but it keeps the first half when a signal cuts a line in two.
    # The end of input ends the next read as well, and at once.
    _m_next_line() {
        if [ -n "$_m_wait" ] && [ -z "$_m_ticker" ]; then
            trap : ALRM
            (while sleep 1; do kill -ALRM $$ || exit; done) 8<&- 9>&- 2>/dev/null &
            _m_ticker=$!
        fi
        _m_now
        if IFS= read -r _m_line <&8; then
            _m_line=$_m_partial$_m_line _m_partial= _m_ended=
            return 0
        fi
        _m_partial=$_m_partial$_m_line _m_line=
        set -- "$_m_time" "$_m_ended"
        _m_now
        _m_ended=1
        [ $((_m_time - $1)) -gt 2 ] || [ -z "$2" ]
    }
fi

muster_run() {
    _m_heard=
    while :; do
        _m_run_timers
        _m_flush
        _m_waiting=1 # what a trap says from now on leaves at once
        _m_flush
        if ! _m_next_line; then
            [ -n "$_m_heard" ] ||
                _m_log "nothing came on standard input: does the description say protocol: text/syndicate?"
            return 0
        fi
        [ -z "$_m_line" ] || _m_heard=1
        _m_waiting=
        _m_packet || return 1
    done
}
