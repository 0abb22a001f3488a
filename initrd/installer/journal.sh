# The journal of an installation, on the disk that is installed to, between the partition table and
# the first partition: two slots of 16 KiB, at 512 and 528 KiB, which are written in turn, each with
# a number and a check sum. So one of them is whole whenever the power goes. It says which disk it
# belongs to, which steps are done, and until the end also the answers.
# shellcheck shell=sh

slot_size=16384 slot_first=32

# field NAME: of the journal that was read
field() {
    value=
    while IFS= read -r line; do
        case $line in "$1 "*) value=${line#* } ;; esac
    done <"$work/journal"
    echo "$value"
}

# slot DISK NUMBER: the text in it, if it is whole
slot() {
    dd if="$dev/$1" bs=$slot_size skip=$((slot_first + $2)) count=1 2>/dev/null |
        tr -d '\0' >"$work/slot"
    [ "$(head -n 1 "$work/slot")" = "muster-installer 1" ] || return 1
    sum=$(sed -n '$s/^sum //p' "$work/slot")
    [ "$(sed '$d' "$work/slot" | sha256sum)" = "$sum  -" ] || return 1
    cat "$work/slot"
}

# journal_read DISK: into $work/journal the newest one of it; fails if there is none. One that no longer
# speaks of what is there counts for nothing: $journal_void tells why.
journal_read() {
    journal_void='' newest=0
    rm -f "$work/journal"
    for number in 0 1; do
        slot "$1" $number >"$work/candidate" || continue
        sequence=$(sed -n 's/^sequence //p' "$work/candidate")
        [ "$sequence" -gt "$newest" ] || continue
        newest=$sequence
        mv "$work/candidate" "$work/journal"
    done
    [ -s "$work/journal" ] || return 1
    if [ "$(field disk)" != "$(identity "$1")" ]; then
        journal_void=$(field disk)
        journal_void="the journal of an installation onto another disk, serial ${journal_void#* }"
    elif ! journal_fits "$1"; then
        journal_void="the journal of an installation that is there no more"
    else
        return 0
    fi
    rm -f "$work/journal"
    return 1
}

# Whether the partition table is the one that the journal speaks of: who used the disk for something
# else since has made another. While it is being made, the one from before may be there, or none.
journal_fits() { # DISK
    table=$(table_id "$1")
    [ "$table" != "$(field table)" ] || return 0
    ! journal_done partitions && { [ -z "$table" ] || [ "$table" = "$(field former)" ]; }
}

# journal_write DISK: $work/journal, with the next number; on the disk when this returns. It is written
# twice for each step, so it starts few programs.
journal_write() {
    sequence=$(($(field sequence) + 1)) length=0
    while IFS= read -r line; do
        case $line in
        "sequence "*) line="sequence $sequence" ;;
        "sum "*) continue ;;
        esac
        length=$((length + ${#line} + 1))
        printf '%s\n' "$line"
    done <"$work/journal" >"$work/record"
    # the sum's line has 70 bytes
    [ $length -le $((slot_size - 70)) ] || { say "The answers are too long."; return 1; }
    cp "$work/record" "$work/journal" && sum=$(sha256sum <"$work/record") &&
        echo "sum ${sum%% *}" >>"$work/record" &&
        dd if="$work/record" of="$dev/$1" bs=$slot_size seek=$((slot_first + sequence % 2)) count=1 \
            conv=sync,notrunc,fsync status=none 2>>"$log"
}

# journal_begin DISK: a new one, with the answers in it. What was there before is overtaken.
journal_begin() {
    journal_read "$1" || :
    {
        echo "muster-installer 1"
        echo "sequence $newest"
        echo "disk $(identity "$1")"
        echo "former $(table_id "$1")"
        for name in table boot system root swap; do
            echo "$name $(cat /proc/sys/kernel/random/uuid)"
        done
        sed 's/^/answer /' "$work/answers"
    } >"$work/journal"
    journal_write "$1"
}

# What a step has begun and done.
journal_mark() { # DISK begun|done STEP
    echo "$2 $3" >>"$work/journal"
    journal_write "$1"
}
journal_done() {
    while IFS= read -r line; do
        [ "$line" != "done $1" ] || return 0
    done <"$work/journal"
    return 1
}

# The last word: the answers, which may hold secrets, go from both slots.
journal_close() {
    sed -i '/^answer /d' "$work/journal"
    echo "complete $(date -u +%Y-%m-%dT%H:%M:%SZ)" >>"$work/journal"
    journal_write "$1" && journal_write "$1"
}

journal_complete() { grep -q '^complete ' "$work/journal"; }

journal_answer() { sed -n "s/^answer $1=//p" "$work/journal" | tail -n 1; }

journal_hostname() {
    name=$(journal_answer hostname)
    echo "${name:-muster}"
}

journal_summary() {
    if journal_complete; then
        echo "complete since $(field complete)"
    else
        echo "not complete: $(grep -c '^done ' "$work/journal") of $(echo "$steps" | wc -w) steps are done"
    fi
}
