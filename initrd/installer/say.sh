# What the installer says: on the console, and in its log, which goes to the new system at the end.
# shellcheck shell=sh

work=${INSTALLER_WORK:-/run/installer}
log=$work/log
mkdir -p "$work"

say() {
    echo "$*"
    echo "$*" >>"$log"
}

# note TEXT: for the log alone
note() { echo "$*" >>"$log"; }

# save_log, and what an earlier try left: $log belongs to this start of the installer, the file on the disk to
# all. $saved bytes of $log are there already.
saved=0
save_log() {
    size=$(wc -c <"$log")
    file=$target/var/log/muster-install.log
    if mkdir -p "${file%/*}" && { [ ! -s "$work/log.earlier" ] || mv "$work/log.earlier" "$file"; } &&
        tail -c +$((saved + 1)) "$log" | head -c $((size - saved)) >>"$file"; then saved=$size; fi 2>/dev/null
    return 0
}

# Seconds since the machine was started.
now() {
    read -r now _ </proc/uptime
    now=${now%.*}
}

# ask QUESTION DEFAULT: into $reply
ask() {
    printf '%s%s: ' "$1" "${2:+ [$2]}"
    IFS= read -r reply || exit 1
    reply=${reply:-$2}
}

# ask_of QUESTION DEFAULT WORD...: one of these words, into $reply
ask_of() {
    question=$1 default=$2
    shift 2
    while :; do
        ask "$question ($(echo "$*" | sed 's/ /, /g'))" "$default"
        for word; do [ "$reply" != "$word" ] || return 0; done
        echo "That is none of: $*"
    done
}

# ask_secret QUESTION: typed twice, not shown; empty for none
ask_secret() {
    while :; do
        printf '%s: ' "$1"
        stty -echo 2>/dev/null
        IFS= read -r reply || exit 1
        [ -z "$reply" ] || { printf '\nAgain: '; IFS= read -r again || exit 1; }
        stty echo 2>/dev/null
        echo
        [ -n "$reply" ] && [ "$reply" != "$again" ] || return 0
        echo "These are not the same."
    done
}
