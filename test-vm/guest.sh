# Comes before the script of `guest` (lib.sh) and runs in the booted system (busybox sh).
# shellcheck shell=sh

fail() { echo "$*" >&2; muster status >&2 || :; exit 1; }

# same WHAT IS SHOULD-BE
same() { [ "$2" = "$3" ] || fail "$1: is '$2', should be '$3'"; }

# none PATTERN: nothing that matches is asserted
none() { nothing "$1" || fail "asserted, but should not be: $(muster list "$1")"; }

# some PATTERN: something that matches is asserted now
some() { ! nothing "$1" || fail "not asserted: $1"; }

# gone PATTERN: waits until nothing matches
gone() { until_so nothing "$1"; }
nothing() { [ -z "$(muster list "$1")" ]; }

# until_so COMMAND...: for what cannot be waited for; each try is a round trip through the system
until_so() { until "$@"; do muster status >/dev/null; done; }

# Debian's busybox-static, the userland where there are no Alpine packages, has no pgrep: what the
# scenarios use of it. pgrep [-f | -fx] [-P PARENT] PATTERN
command -v pgrep >/dev/null || pgrep() {
    whole='' parent=''
    while :; do
        case $1 in
        -f) ;;
        -fx) whole=-x ;;
        -P) parent=$2 && shift ;;
        *) break ;;
        esac
        shift
    done
    found=1
    for process in /proc/[0-9]*; do
        line=$(tr '\0\n' '  ' <"$process/cmdline") 2>/dev/null || continue
        [ -z "$parent" ] || grep -qs "^PPid:[[:space:]]*$parent\$" "$process/status" || continue
        printf '%s\n' "${line% }" | grep -q $whole -e "$1" || continue
        echo "${process#/proc/}" && found=0
    done
    return $found
}
