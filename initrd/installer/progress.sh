# How far it is, and how long it still takes.
# shellcheck shell=sh

# What each step takes, in seconds on a slow machine.
weight() {
    case $1 in
    partitions) echo 3 ;;
    boot-files) echo 7 ;;
    packages) echo 14 ;;
    settings) echo 6 ;;
    boot-loader) echo 2 ;;
    esac
}

# From the journal: the $earned weight of the steps that are done and what they took, $spent seconds, also
# before a power cut; the weight that is $left.
estimate() {
    spent=0 earned=0 left=0
    for each in $steps; do
        if journal_done "$each"; then
            seconds=$(field "took-$each")
            earned=$((earned + $(weight "$each"))) spent=$((spent + ${seconds:-0}))
        else
            left=$((left + $(weight "$each")))
        fi
    done
}

# By what was measured; before that, as if this were the slow machine.
remaining() { duration $((left * (spent + 1) / (earned + 1) + 1)); }

duration() { # SECONDS
    if [ "$1" -lt 100 ]; then echo "about $1 s"; else echo "about $((($1 + 59) / 60)) min"; fi
}

# What apk says: lines DONE/TOTAL, in bytes, and (N/ALL) with the package that comes next, which go to the
# log with all the others. Told every ten seconds, with the time that the rest takes at that rate.
follow_packages() {
    now
    began=$now told=$now bytes=0 total=0 packages=0 all=0
    while IFS= read -r line; do
        case $line in
        "("*/*") "*) counted=${line%%)*} counted=${counted#?} ;;
        */*) counted=$line ;;
        *) counted= ;;
        esac
        # scripts of packages may say anything
        case ${counted%%/*}:${counted#*/} in
        *[!0-9:]* | :* | *:) note "$line" && continue ;;
        esac
        case $line in
        "("*) note "$line" && packages=$((${counted%/*} - 1)) all=${counted#*/} ;;
        *) bytes=${line%/*} total=${line#*/} ;;
        esac
        now
        [ $((now - told)) -ge 10 ] || continue
        told=$now rest=
        # the first ones are too small to tell
        [ "$bytes" = 0 ] || [ $((bytes * 20)) -lt "$total" ] ||
            rest=", $(duration $(((now - began) * (total - bytes) / bytes + 1)))"
        echo "    $packages of $all packages$rest"
    done
}
