# Preserves text for shell scripts: what muster.sh knows about values and patterns, without a process
# of its own. Results are left in variables, as $(...) would cost a fork each.

_m_nl='
'
_m_tab=$(printf '\t')
_m_cr=$(printf '\r')
_m_sep=$(printf '\001')
_m_blank="[ ,$_m_tab$_m_cr$_m_nl]"
_m_delimiter="[][<>{}:\"@;,#' $_m_tab$_m_cr$_m_nl]"
_m_special="[\\\\\"$_m_tab$_m_cr$_m_nl]"

_m_log() { printf 'muster: %s\n' "$*" >&2; }

# Takes one token off _m_rest into _m_tok. Commas count as blanks. Fails at the end, or when a
# string is not closed.
_m_token() {
    while :; do
        case $_m_rest in
        $_m_blank*) _m_rest=${_m_rest#?} ;;
        *) break ;;
        esac
    done
    case $_m_rest in
    '<'*) _m_tok='<' _m_rest=${_m_rest#?} ;;
    '>'*) _m_tok='>' _m_rest=${_m_rest#?} ;;
    '['*) _m_tok='[' _m_rest=${_m_rest#?} ;;
    ']'*) _m_tok=']' _m_rest=${_m_rest#?} ;;
    '{'*) _m_tok='{' _m_rest=${_m_rest#?} ;;
    '}'*) _m_tok='}' _m_rest=${_m_rest#?} ;;
    ':'*) _m_tok=':' _m_rest=${_m_rest#?} ;;
    '"'*) _m_rest=${_m_rest#?}; _m_quoted '"' '"' ;;
    "'"*) _m_rest=${_m_rest#?}; _m_quoted "'" "'" ;;
    '#:'*) _m_tok='#:' _m_rest=${_m_rest#??} ;;
    '#{'*) _m_tok='#{' _m_rest=${_m_rest#??} ;;
    '#"'*) _m_rest=${_m_rest#??}; _m_quoted '#"' '"' ;;
    '#x"'*) _m_rest=${_m_rest#???}; _m_quoted '#x"' '"' ;;
    '#xd"'*) _m_rest=${_m_rest#????}; _m_quoted '#xd"' '"' ;;
    '#['*)
        case $_m_rest in *']'*) ;; *) return 1 ;; esac
        _m_tok="${_m_rest%%']'*}]" _m_rest=${_m_rest#*']'}
        ;;
    '#t'* | '#f'*)
        _m_tok=${_m_rest#?}
        _m_tok="#${_m_tok%%$_m_delimiter*}"
        _m_rest=${_m_rest#"$_m_tok"}
        case $_m_tok in '#t' | '#f') ;; *) return 1 ;; esac
        ;;
    *)
        _m_tok=${_m_rest%%$_m_delimiter*}
        _m_rest=${_m_rest#"$_m_tok"}
        [ -n "$_m_tok" ]
        ;;
    esac
}

# OPENING QUOTE: the rest of a quoted token.
_m_quoted() {
    _m_tok=$1
    while :; do
        case $_m_rest in *"$2"*) ;; *) return 1 ;; esac
        _m_part=${_m_rest%%"$2"*}
        _m_rest=${_m_rest#*"$2"}
        _m_tok=$_m_tok$_m_part$2
        case $_m_part in
        *\\)
            _m_part=${_m_part##*[!\\]} # an odd number of backslashes escapes the quote
            [ $((${#_m_part} % 2)) -eq 1 ] || return 0
            ;;
        *) return 0 ;;
        esac
    done
}

# The next value of _m_rest, in the form that is always the same, into _m_val.
_m_value() { _m_token && _m_value_on; }

# The same where its first token is already in _m_tok.
_m_value_on() {
    _m_val= _m_gap= _m_open=
    while :; do
        case $_m_tok in
        '<') _m_val="$_m_val$_m_gap<" _m_gap= _m_open=">$_m_open" ;;
        '[') _m_val="$_m_val$_m_gap[" _m_gap= _m_open="]$_m_open" ;;
        '{' | '#{') _m_val="$_m_val$_m_gap$_m_tok" _m_gap= _m_open="}$_m_open" ;;
        '#:') _m_val="$_m_val$_m_gap#:" _m_gap= ;;
        '>' | ']' | '}')
            case $_m_open in "$_m_tok"*) ;; *) return 1 ;; esac
            _m_val=$_m_val$_m_tok _m_gap=' ' _m_open=${_m_open#?}
            [ -n "$_m_open" ] || return 0
            ;;
        ':')
            case $_m_open in '}'*) _m_val=$_m_val: _m_gap=' ' ;; *) return 1 ;; esac
            ;;
        *)
            _m_val=$_m_val$_m_gap$_m_tok _m_gap=' '
            [ -n "$_m_open" ] || return 0
            ;;
        esac
        _m_token || return 1
    done
}

# TEXT WHAT: exactly one value into _m_val, or a message.
_m_one_value() {
    _m_rest=$1
    if _m_value; then
        case $_m_rest in *[!\ "$_m_tab$_m_cr$_m_nl"]*) ;; *) return 0 ;; esac
    fi
    _m_log "$2: this is not one Preserves value: $1"
    return 1
}

# A quoted string or symbol without its quotes, into _m_text.
_m_unquote() {
    _m_text=${1#?}
    _m_text=${_m_text%?}
    case $_m_text in *\\*) ;; *) return 0 ;; esac
    _m_esc=$_m_text _m_text=
    while :; do
        case $_m_esc in
        *\\*) ;;
        *) _m_text=$_m_text$_m_esc; return 0 ;;
        esac
        _m_text=$_m_text${_m_esc%%\\*}
        _m_esc=${_m_esc#*\\}
        case $_m_esc in
        n*) _m_text=$_m_text$_m_nl ;;
        t*) _m_text=$_m_text$_m_tab ;;
        r*) _m_text=$_m_text$_m_cr ;;
        \\*) _m_text=$_m_text\\ ;;
        \"*) _m_text=$_m_text\" ;;
        \'*) _m_text=$_m_text\' ;;
        /*) _m_text=$_m_text/ ;;
        b*) _m_text=$_m_text$(printf '\b') ;;
        f*) _m_text=$_m_text$(printf '\f') ;;
        u*) _m_unicode; continue ;;
        esac
        _m_esc=${_m_esc#?}
    done
}

# uXXXX at the beginning of _m_esc, a surrogate pair as one. The zero character, which a shell
# cannot hold, is left out.
_m_unicode() {
    _m_hex=${_m_esc#u}
    _m_esc=${_m_hex#????}
    _m_code=$((0x${_m_hex%"$_m_esc"}))
    case $_m_esc in
    \\u*)
        if [ $_m_code -ge 55296 ] && [ $_m_code -lt 56320 ]; then
            _m_hex=${_m_esc#??}
            _m_esc=${_m_hex#????}
            _m_code=$((65536 + (_m_code - 55296) * 1024 + 0x${_m_hex%"$_m_esc"} - 56320))
        fi
        ;;
    esac
    if [ $_m_code -eq 0 ]; then
        return 0
    elif [ $_m_code -lt 128 ]; then
        set -- $_m_code
    elif [ $_m_code -lt 2048 ]; then
        set -- $((192 + _m_code / 64)) $((128 + _m_code % 64))
    elif [ $_m_code -lt 65536 ]; then
        set -- $((224 + _m_code / 4096)) $((128 + _m_code / 64 % 64)) $((128 + _m_code % 64))
    else
        set -- $((240 + _m_code / 262144)) $((128 + _m_code / 4096 % 64)) \
            $((128 + _m_code / 64 % 64)) $((128 + _m_code % 64))
    fi
    _m_hex=$(printf '\\%03o' "$@")
    _m_hex=$(printf "$_m_hex.") # the dot keeps a newline
    _m_text=$_m_text${_m_hex%.}
}

muster_string() {
    _m_esc=$1 _m_text='"'
    while :; do
        case $_m_esc in
        *$_m_special*) ;;
        *) break ;;
        esac
        _m_text=$_m_text${_m_esc%%$_m_special*}
        _m_esc=${_m_esc#"${_m_esc%%$_m_special*}"}
        case $_m_esc in
        "$_m_nl"*) _m_text="$_m_text\\n" ;;
        "$_m_tab"*) _m_text="$_m_text\\t" ;;
        "$_m_cr"*) _m_text="$_m_text\\r" ;;
        \\*) _m_text="$_m_text\\\\" ;;
        \"*) _m_text="$_m_text\\\"" ;;
        esac
        _m_esc=${_m_esc#?}
    done
    printf '%s' "$_m_text$_m_esc\""
}

# PATTERN as written into the wire form _m_wire. The server hands captures over by ascending
# dictionary keys; _m_order is the argument list that puts them into the order as written, or empty.
#
# One frame for each open bracket, numbered by depth: its closing bracket (`b` for `<?name …>`), the
# next index, and where it is: the path of sort keys down to it.
_m_pattern() {
    _m_rest=$1 _m_wire= _m_depth=0 _m_binds=0
    while :; do
        _m_token || return 1
        _m_frame=
        [ $_m_depth -eq 0 ] || eval "_m_frame=\$_m_frame_$_m_depth _m_index=\$_m_index_$_m_depth \
            _m_here=\$_m_path_$_m_depth"
        case $_m_frame$_m_tok in
        'b>') _m_wire="$_m_wire>" _m_depth=$((_m_depth - 1)) ;;
        '>>' | ']]' | '}}') _m_wire="$_m_wire}>" _m_depth=$((_m_depth - 1)) ;;
        *'>' | *']' | *'}' | *':') return 1 ;;
        *) _m_pattern_item || return 1 ;;
        esac
        [ $_m_depth -gt 0 ] || break
    done
    case $_m_rest in *[!\ "$_m_tab$_m_cr$_m_nl"]*) return 1 ;; esac
    _m_pattern_order
}

_m_pattern_item() {
    case $_m_frame in
    '') _m_here= ;;
    b) _m_here=$_m_here$_m_sep ;;
    *)
        [ "$_m_index" -eq 0 ] || _m_wire="$_m_wire "
        eval "_m_index_$_m_depth=$((_m_index + 1))"
        if [ "$_m_frame" = '}' ]; then
            case $_m_tok in
            \"*) _m_here=$_m_here${_m_sep}3${_m_tok#?} ;;
            [0-9]*) _m_here=$_m_here${_m_sep}2${#_m_tok}.$_m_tok ;;
            *) _m_here=$_m_here${_m_sep}5$_m_tok ;;
            esac
            _m_wire="$_m_wire$_m_tok: "
            _m_token && [ "$_m_tok" = : ] && _m_token || return 1
        else
            _m_here=$_m_here$_m_sep$((1000 + _m_index))
            _m_wire="$_m_wire$_m_index: "
        fi
        ;;
    esac
    case $_m_tok in
    '<')
        _m_token || return 1
        case $_m_tok in
        '?'*) _m_bind; _m_wire="$_m_wire<bind "; _m_pattern_open b ;;
        *) _m_value_on && _m_wire="$_m_wire<group <rec $_m_val> {" && _m_pattern_open '>' ;;
        esac
        ;;
    '[') _m_wire="$_m_wire<group <arr> {"; _m_pattern_open ']' ;;
    '{') _m_wire="$_m_wire<group <dict> {"; _m_pattern_open '}' ;;
    _) _m_wire="$_m_wire<_>" ;;
    '?'*) _m_bind; _m_wire="$_m_wire<bind <_>>" ;;
    '#{' | '#:' | '>' | ']' | '}' | ':') return 1 ;;
    =?*) _m_wire="$_m_wire<lit ${_m_tok#=}>" ;;
    *) _m_wire="$_m_wire<lit $_m_tok>" ;;
    esac
}

_m_pattern_open() {
    _m_depth=$((_m_depth + 1))
    eval "_m_frame_$_m_depth=\$1 _m_index_$_m_depth=0 _m_path_$_m_depth=\$_m_here"
}

_m_bind() {
    _m_binds=$((_m_binds + 1))
    eval "_m_bind_$_m_binds=\$_m_here"
}

_m_pattern_order() {
    _m_order= _m_sorted=1 _m_i=0
    while [ $_m_i -lt $_m_binds ]; do
        _m_i=$((_m_i + 1)) _m_j=0 _m_rank=1
        while [ $_m_j -lt $_m_binds ]; do
            _m_j=$((_m_j + 1))
            eval "[ \"\$_m_bind_$_m_j\" \\< \"\$_m_bind_$_m_i\" ]" && _m_rank=$((_m_rank + 1))
        done
        [ $_m_rank -eq $_m_i ] || _m_sorted=
        _m_order="$_m_order \"\${$_m_rank}\""
    done
    [ -z "$_m_sorted" ] || _m_order=
}
