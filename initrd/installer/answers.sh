# The answers: lines KEY=VALUE in $work/answers, from a file, from the kernel command line or from the
# console. All are checked before any is used.
# shellcheck shell=sh

# answer KEY [DEFAULT], and all values of one that may come more than once
answer() {
    value=$(sed -n "s/^$1=//p" "$work/answers" | tail -n 1)
    echo "${value:-${2:-}}"
}
answer_all() { sed -n "s/^$1=//p" "$work/answers"; }
set_answer() { # KEY VALUE
    sed -i "/^$1=/d" "$work/answers"
    echo "$1=$2" >>"$work/answers"
}

# read_answers FILE NAME: KEY = VALUE lines; # begins a comment, at the start of a line only
read_answers() {
    : >"$work/answers"
    : >"$work/lines"
    bad=$(awk -v answers="$work/answers" -v lines="$work/lines" '
        { sub(/\r$/, "") }
        /^[ \t]*(#|$)/ { next }
        !/^[ \t]*[a-z-]+[ \t]*=/ { print NR ": not KEY = VALUE: " $0; exit }
        {
            at = index($0, "=")
            key = substr($0, 1, at - 1)
            value = substr($0, at + 1)
            gsub(/[ \t]/, "", key)
            gsub(/^[ \t]+|[ \t]+$/, "", value)
            print key "=" value >answers
            print NR >lines
        }' "$1")
    [ -z "$bad" ] || { say "$2:$bad"; return 1; }
    check_answers "$2"
    status=$?
    rm -f "$work/lines"
    return $status
}

# From a word of the kernel command line: key=value,key=value, where %20 is a space.
read_word() {
    echo "$1" | tr , '\n' | sed 's/\\/\\\\/g; s/%\([0-9A-Fa-f][0-9A-Fa-f]\)/\\x\1/g' >"$work/word"
    while IFS= read -r line; do printf '%b\n' "$line"; done <"$work/word" >"$work/answers.text"
    read_answers "$work/answers.text" "muster.install"
}

wrong() {
    say "$source$([ "$count" = 0 ] || sed -n "${count}s/^/:/p" "$work/lines" 2>/dev/null): $1"
    correct=
}

# matches VALUE EXPRESSION
matches() { echo "$1" | grep -q -x -E -e "$2"; }

check_answers() { # NAME
    source=$1 correct=1 user='' count=0
    name='[a-z_][a-z0-9_-]{0,30}' ip='[0-9]{1,3}(\.[0-9]{1,3}){3}'
    while IFS= read -r line; do
        key=${line%%=*} value=${line#*=}
        good='' count=$((count + 1))
        case $key in
        disk) good='(/dev/)?[a-z0-9-]+|empty|serial:[A-Za-z0-9._-]+|(LABEL|UUID)=.+' ;;
        erase) good='yes|no' ;;
        hostname) good='[A-Za-z0-9]([A-Za-z0-9.-]{0,62})' ;;
        network) good='dhcp|static|none' ;;
        interface) good='[A-Za-z0-9._-]{1,15}' ;;
        address) good="$ip/[0-9]{1,2}" ;;
        gateway) good=$ip ;;
        dns) good="$ip( $ip)*" ;;
        packages) good='[A-Za-z0-9][A-Za-z0-9+._@<>=~-]*( [A-Za-z0-9][A-Za-z0-9+._@<>=~-]*)*' ;;
        services) good="($(known_services | paste -sd '|' -))( ($(known_services | paste -sd '|' -)))*" ;;
        repository | mirror) good='(https?://|/)[^ ]+|medium|((LABEL|UUID)=[^: ]+|/dev/[a-z0-9]+):/[^ ]*' ;;
        password | user-password) good='\$[0-9a-z]+\$[^: ]+|none' ;;
        key | user-key) good='(ssh-|ecdsa-|sk-)[^ ]+ [A-Za-z0-9+/=]+( .*)?' ;;
        user) good=$name ;;
        user-groups) good="$name( $name)*" ;;
        append) good='[!-~]+( [!-~]+)*' ;;
        swap) good='0|[1-9][0-9]{0,5}' ;;
        console) good='[a-zA-Z0-9,]+( [a-zA-Z0-9,]+)*' ;;
        then) good='reboot|poweroff|stay' ;;
        *) wrong "there is no answer \"$key\"" && continue ;;
        esac
        case $key in
        user) user=$value ;;
        user-*) [ -n "$user" ] || wrong "$key comes before any user" ;;
        esac
        matches "$value" "$good" || wrong "$key: this cannot be: $value"
    done <"$work/answers"
    count=0
    if [ "$(answer network)" = static ] && [ -z "$(answer address)" ]; then
        wrong "network is static, but there is no address"
    fi
    [ -n "$correct" ]
}

known_services() { (cd "$share/services" && ls -- *.pr) | sed 's/\.pr$//'; }

# find_answers WORD: of the kernel command line, muster.install=WORD, into $work/answers
find_answers() {
    case $1 in
    /*) file=$1 ;;
    http://* | https://*)
        network_up && wget -q -O "$work/answers.text" "$1" || { say "$1 cannot be fetched"; return 1; }
        file=$work/answers.text
        ;;
    [a-z]*=*) read_word "$1" && return 0 || return 1 ;;
    *:/*)
        one_device "${1%%:/*}" && mount_read_only "$device" "$work/answers.disk" || return 1
        cp "$work/answers.disk/${1#*:/}" "$work/answers.text" 2>/dev/null ||
            { say "$1: there is no such file on $device"; umount "$work/answers.disk"; return 1; }
        umount "$work/answers.disk"
        file=$work/answers.text
        ;;
    *) say "muster.install=$1: neither a file nor DEVICE:/FILE nor a URL nor KEY=VALUE" && return 1 ;;
    esac
    [ -r "$file" ] || { say "$1: there is no such file"; return 1; }
    read_answers "$file" "$1"
}

mount_read_only() { # DEVICE FOLDER
    mkdir -p "$2"
    case $(tag TYPE "$(blkid "$1")") in
    ext[34]) options=ro,noload ;;
    *) options=ro ;;
    esac
    mount -o $options "$1" "$2" 2>>"$log" || { say "$1 cannot be mounted."; return 1; }
}

# The network of the installer itself, for answers and packages that come over it: as the answers say
# for the new system, and by DHCP while there are none.
network_up() {
    interface=$(answer interface eth0) wanted=$(answer network dhcp)
    [ "$wanted" != none ] || wanted=dhcp
    [ "${networked:-}" != "$wanted $interface" ] || return 0
    ip link set "$interface" up 2>>"$log" || { say "There is no interface $interface."; return 1; }
    if [ "$wanted" = static ]; then
        say "Giving $interface the address $(answer address) ..."
        ip address flush dev "$interface" 2>>"$log"
        ip address replace "$(answer address)" dev "$interface" 2>>"$log" || return 1
        [ -z "$(answer gateway)" ] || ip route replace default via "$(answer gateway)" 2>>"$log" ||
            return 1
        for server in $(answer dns); do echo "nameserver $server"; done >/etc/resolv.conf
    else
        say "Asking for an address on $interface ..."
        udhcpc -q -n -i "$interface" >>"$log" 2>&1 || return 1
    fi
    networked="$wanted $interface"
}
