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
    local firmware=$1 disk=$2 first=,bootindex=0 more=()
    shift 2
    case $firmware in
    uefi)
        local code=/usr/share/OVMF/OVMF_CODE_4M.fd
        [ -e "$code" ] || skip "no OVMF"
        more=(-drive "if=pflash,format=raw,unit=0,readonly=on,file=$code")
        ;;
    kernel)
        first= more=(-kernel "$project/build/initrd/vmlinuz" -initrd "$project/build/initrd/initrd.img"
            -append "console=ttyS0 panic=-1 loglevel=4 no_timer_check cryptomgr.notests $*")
        ;;
    esac
    qemu-system-x86_64 -accel tcg -M q35 -cpu qemu64 -m 512 -nodefaults -no-user-config \
        -vga std -display none -serial "file:$console" "${more[@]}" \
        -drive "file=$disk,format=raw,if=none,id=disk,cache=unsafe" \
        -device "virtio-blk-pci,drive=disk$first" </dev/null || fail "QEMU: status $?"
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
