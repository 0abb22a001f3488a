# For scenarios with disks that boot by themselves; after lib.sh.
# shellcheck shell=bash

project=$(cd "$test_vm/.." && pwd)
console=$work/console

# image DISK <DESCRIPTION: a disk as `make image` writes it
image() {
    for needed in sfdisk mcopy syslinux mkfs.vfat objcopy; do
        command -v $needed >/dev/null || [ -x /sbin/$needed ] || skip "$needed is not installed"
    done
    [ -s "$project/build/initrd/mirror" ] || skip "no Alpine packages"
    cat >"$work/description"
    "$project/initrd/image" "$work/description" "$1"
}

# starts bios|uefi|kernel DISK [WORD...]: runs the machine until it powers off; its console is shown
# and lies in $console. kernel: build/initrd starts it, with these words.
starts() {
    local firmware=$1 disk=$2
    shift 2
    if [ "$firmware" = kernel ]; then
        set -- --kernel "$project/build/initrd/vmlinuz" --initrd "$project/build/initrd/initrd.img" \
            --append "$*"
    else
        [ "$firmware" != uefi ] || [ -e /usr/share/OVMF/OVMF_CODE_4M.fd ] || skip "no OVMF"
        set -- --firmware "$firmware"
    fi
    : >"$console"
    "$test_vm/machine" "$@" --reboot --timeout 850 --console "$console" --disk "$disk" ||
        fail "the machine: status $?: $(tail -n 60 "$console")"
    tr -d '\r' <"$console" >"$console.text"
    mv "$console.text" "$console"
    echo "--- $firmware"
    grep -v '^\[ ' "$console" | tail -n 60
}

# said TEXT...: each stood on the console, maybe behind a login prompt
said() {
    for line; do grep -q -F -e "$line" "$console" || fail "the console does not say: $line"; done
}

# report <SCRIPT: words for a description: a service that runs the script once, as root, with its
# output on the console, when the default milestone is reached
report() {
    { printf '#!/bin/sh\nexec >/dev/ttyS0 2>&1\n'; cat; } >"$work/report"
    cat >"$work/report.pr" <<'_'
<require-service <daemon report>>
<depends-on <daemon report> <service-state <milestone default> up>>
<daemon report <one-shot "/usr/bin/report">>
_
    echo "file report /usr/bin/report 755"
    echo "file report.pr /etc/muster/services/report.pr"
}
