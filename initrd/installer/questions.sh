# What is asked on the console. The answers are the same that a file may have.
# shellcheck shell=sh

shell() {
    echo "A shell; exit leaves it."
    HOME=/root sh -i
}

# After a step that failed: true to try it again.
failed() {
    ask_of "What now?" again again disk shell poweroff
    case $reply in
    disk) return 1 ;;
    shell) shell ;;
    poweroff) finish poweroff ;;
    esac
    return 0
}

# A question whose answer must be one that check_answers takes.
answer_to() { # KEY QUESTION DEFAULT
    while :; do
        ask "$2" "$3"
        [ -n "$reply" ] || return 0
        cp "$work/answers" "$work/answers.before"
        set_answer "$1" "$reply"
        check_answers "That" && return
        cp "$work/answers.before" "$work/answers"
    done
}

choose_disk() {
    while :; do
        say
        say "Disks:"
        show_disks
        ask "Install onto which disk? (its name, or look, shell, poweroff)" ''
        case $reply in
        '' | look) continue ;;
        shell) shell && continue ;;
        poweroff) finish poweroff ;;
        esac
        disk=${reply#/dev/}
        say "onto: $disk"
        usable "$disk" || continue
        found=$(contents "$disk")
        [ -n "$found" ] || return 0
        say "There is something on $disk, and all of it would be lost:"
        echo "$found"
        ask_of "Use it all the same?" no yes no
        [ "$reply" != yes ] || return 0
    done
}

password() { # KEY WHOSE
    ask_secret "Password of $2 (empty: none, only keys)"
    if [ -n "$reply" ]; then set_answer "$1" "$(echo "$reply" | mkpasswd -m sha512 -P 0)"; fi
}

questions() {
    : >"$work/answers"
    choose_disk
    set_answer disk "$disk"
    answer_to hostname "Name of the system" muster
    ask_of "Network?" dhcp dhcp static none
    set_answer network "$reply"
    if [ "$reply" != none ]; then answer_to interface "Interface" eth0; fi
    if [ "$(answer network)" = static ]; then
        while [ -z "$(answer address)" ]; do
            set_answer network dhcp # until there is one
            answer_to address "Address, as 192.0.2.5/24" ''
        done
        set_answer network static
        answer_to gateway "Gateway (empty: none)" ''
        answer_to dns "Name servers (empty: none)" ''
    fi
    password password root
    answer_to key "A key that may log in as root, as ssh-ed25519 AAAA... (empty: none)" ''
    answer_to user "A user besides root (empty: none)" ''
    if [ -n "$(answer user)" ]; then
        password user-password "$(answer user)"
        answer_to user-key "A key that may log in as $(answer user) (empty: none)" ''
    fi
    answer_to services "Services, of: $(known_services | paste -sd ' ' -) (empty: none)" ''
    answer_to packages "More packages (empty: none)" ''
    answer_to repository "Packages from (medium, a URL, DEVICE:/FOLDER)" medium
    answer_to append "More words for its kernel (empty: none)" ''
    say
    say "This is what will be done:"
    grep -v '^[a-z-]*password=' "$work/answers" | sed 's/=/: /; s/^/    /'
    say "All that is on $disk ($(disk_size "$disk") MiB, serial $(identity "$disk" | cut -d' ' -f2)) will be lost."
    ask "Type yes to begin; anything else goes back" ''
    [ "$reply" = yes ] || { say "Nothing was written."; return 1; }
}
