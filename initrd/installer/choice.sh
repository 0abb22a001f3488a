# Which disk it is: one that an installation was begun on, or the one that the answers mean.
# shellcheck shell=sh

patience=60 # seconds, for a disk that is not there yet

digest() { sha256sum <"$work/answers" | cut -d' ' -f1; }

# A disk with a journal that is not complete, into $disk.
unfinished() {
    for disk in $(disks); do
        if journal_read "$disk" && ! journal_complete; then return 0; fi
    done
    return 1
}

# Whether an installation with these answers was begun on a disk; its journal is left.
begun_on() { journal_read "$1" && [ "$(field answers)" = "$(digest)" ]; }

# The disk that an installation with these answers was begun on, into $disk, or nothing; fails if there
# are several. That comes before what the answers say: the disk is empty no longer, its labels are gone,
# and after a restart another one may have its name.
begun_disk() {
    open='' complete=''
    for each in $(disks); do
        begun_on "$each" || continue
        if journal_complete; then complete=$each; else open="$open $each"; fi
    done
    disk=${open# }
    case $disk in
    *' '*) say "Installations with these answers were begun on several disks:$open" && return 1 ;;
    '') disk=$complete ;;
    esac
    [ -z "$disk" ] || journal_read "$disk"
}

# The disk that the answers mean, into $disk; it may still have to come.
answered_disk() {
    wanted=$(answer disk)
    case $wanted in
    empty)
        found=
        for each in $(disks); do
            read_only "$each" || [ "$(disk_size "$each")" -lt "$(minimum)" ] ||
                [ -n "$(contents "$each")" ] || found="$found $each"
        done
        # shellcheck disable=SC2086
        set -- $found
        [ $# = 1 ] || { say "disk=empty: $# disks are empty and large enough:$found"; return 1; }
        disk=$1
        ;;
    serial:*)
        disk=
        for each in $(disks); do
            set -- $(identity "$each")
            [ "$2" != "${wanted#serial:}" ] || disk="$disk $each"
        done
        disk=${disk# }
        case $disk in
        '') say "disk=$wanted: no disk has that serial number"; return 1 ;;
        *' '*) say "disk=$wanted: these disks have it: $disk"; return 1 ;;
        esac
        ;;
    LABEL=* | UUID=*)
        one_device "$wanted" || return 1
        device=${device#/dev/}
        disk=$device
        [ ! -e "/sys/class/block/$device/partition" ] || {
            disk=$(readlink -f "/sys/class/block/$device/..") && disk=${disk##*/}
        }
        ;;
    '') say "There is no answer to \"disk\"."; return 1 ;;
    *)
        disk=${wanted#/dev/}
        there "$disk" && return
        say "Waiting for the disk $disk, for $patience s ..."
        await "$disk" "$patience" ||
            { say "disk=$wanted: there is no such disk; there are: $(disks | paste -sd ' ' -)"; return 1; }
        ;;
    esac
}

# Without anybody to ask: whether these answers may be carried out. Leaves a journal to go on with.
unattended() {
    find_answers "$1" && begun_disk || return 1
    if [ -z "$disk" ]; then
        answered_disk && usable "$disk" || return 1
        # a disk that came only now
        if ! begun_on "$disk"; then new_installation; return; fi
    fi
    if journal_complete; then
        say "$disk has been installed with these answers: nothing is left to do."
    else
        usable "$disk" || return 1
        say "Going on with the installation onto $disk, $(journal_summary)."
    fi
}

new_installation() {
    found=$(contents "$disk")
    [ -z "$journal_void" ] || say "$disk has $journal_void."
    if [ -n "$found" ] && [ "$(answer erase)" != yes ]; then
        say "$disk is not empty, and the answers do not say erase=yes: nothing was written."
        echo "$found" | while IFS= read -r line; do say "      $line"; done
        return 1
    fi
    say "Installing onto $disk, as the answers say."
    begin
}

# The journal of a new installation onto $disk, if all that can be known beforehand is as it must be.
begin() {
    command_line_fits || return 1
    journal_begin "$disk" && echo "answers $(digest)" >>"$work/journal" && journal_write "$disk" && return
    say "$disk cannot be written: $(tail -n 1 "$log")"
    return 1
}
