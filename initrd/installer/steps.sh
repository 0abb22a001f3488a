# The steps of an installation. Each may be run any number of times: it begins at the beginning, and is
# marked in the journal only when what it wrote is on the disk.
# shellcheck shell=sh

steps="partitions boot-files packages settings boot-loader"
target=/target kmsg=/dev/kmsg

# The kernel has seen the disk or partition.
await() { # NAME [SECONDS]
    muster wait --timeout "${2:-20}" "<device block _ {DEVNAME: \"$1\"}>" >/dev/null && there "$1"
}

step_partitions() {
    let_go
    swap=$(answer swap 0)
    {
        echo "label: gpt"
        echo "label-id: $(field table)"
        echo "first-lba: 2048"
        echo "name=boot, size=${boot_size}MiB, type=U, uuid=$(field boot), attrs=LegacyBIOSBootable"
        [ "$swap" = 0 ] || echo "name=swap, size=${swap}MiB, type=S, uuid=$(field swap)"
        echo "name=root, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, uuid=$(field system)"
    } | sfdisk -q --force --wipe always --wipe-partitions always "/dev/$disk" &&
        await "$boot" && await "$root"
}

# The file system was made beforehand, with the loader for BIOS in it; it gets a number of its own, in
# its first sector and in the copy (Microsoft's FAT specification: BS_VolID at 67, copy in sector 6).
step_boot_files() {
    let_go
    await "$boot" && dd if="$share/boot.fat" of="/dev/$boot" bs=65536 conv=notrunc,fsync status=none || return 1
    volume=$(field boot | cut -c 1-8)
    for place in 67 3139; do
        printf "$(echo "$volume" | sed 's/\(..\)\(..\)\(..\)\(..\)/\\x\4\\x\3\\x\2\\x\1/')" |
            dd of="/dev/$boot" bs=1 seek=$place conv=notrunc,fsync status=none || return 1
    done
    mkdir -p "$target.boot"
    mount -t vfat "/dev/$boot" "$target.boot" || return 1
    # The pieces of the unified kernel image are also what BIOS needs.
    . "$share/uki.parts"
    mkdir -p "$target.boot/EFI/BOOT" &&
        cp "$share/uki.efi" "$target.boot/EFI/BOOT/BOOTX64.EFI" &&
        piece "$linux_at" "$linux_size" >"$target.boot/vmlinuz" &&
        piece "$initrd_at" "$initrd_size" >"$target.boot/initrd.img" &&
        words=$(command_line "$(field root)") &&
        printf "%-${cmdline_size}s" "$words" |
        dd of="$target.boot/EFI/BOOT/BOOTX64.EFI" bs=1 seek="$cmdline_at" conv=notrunc status=none &&
        cat >"$target.boot/syslinux.cfg" <<END &&
DEFAULT muster
PROMPT 0
LABEL muster
    LINUX /vmlinuz
    INITRD /initrd.img
    APPEND $words
END
        (cd "$target.boot" && fsync EFI/BOOT/BOOTX64.EFI vmlinuz initrd.img syslinux.cfg) &&
        unmount "$target.boot"
}

# piece AT SIZE: of the unified kernel image
piece() {
    dd if="$share/uki.efi" bs=65536 iflag=skip_bytes,count_bytes skip="$1" count="$2" status=none
}

command_line() { # UUID
    words="root=UUID=$1 rootfstype=ext4"
    for console in $(answer console "$(consoles)"); do words="$words console=$console"; done
    echo "$words loglevel=4 panic=60 $(answer append)"
}

# What is longer than the place for it in the unified kernel image would overwrite what comes after that.
command_line_fits() {
    . "$share/uki.parts"
    words=$(command_line "$(cat /proc/sys/kernel/random/uuid)")
    [ ${#words} -lt "$cmdline_size" ] && return
    say "append: the kernel's command line would have ${#words} characters; $((cmdline_size - 1)) are possible."
    return 1
}

# Those that this kernel was told.
consoles() { tr ' ' '\n' </proc/cmdline | sed -n 's/^console=//p' | paste -sd ' ' -; }

step_packages() {
    let_go
    await "$root" && earlier_log && mke2fs -q -F -t ext4 -L root -U "$(field root)" "/dev/$root" || return 1
    [ "$(answer swap 0)" = 0 ] || make_swap "/dev/$(partition "$disk" 2)" || return 1
    open_target || return 1
    mkdir -p "$target/etc/apk/keys" "$target/dev" "$target/proc" &&
        cp /etc/apk/keys/* "$target/etc/apk/keys/" &&
        mount -t devtmpfs dev "$target/dev" && mount -t proc proc "$target/proc" || return 1
    repositories || return 1
    rm -f "$work/progress"
    mkfifo "$work/progress"
    follow_packages <"$work/progress" &
    # shellcheck disable=SC2046,SC2086
    apk add --root "$target" --initdb --no-cache --no-progress --progress-fd 3 \
        --keys-dir /etc/apk/keys --repositories-file /dev/null $(printf -- '-X %s ' $sources) \
        $(wanted_packages) >"$work/progress" 3>&1
    status=$?
    wait
    [ $status = 0 ] || return 1
    # The modules of the kernel that is put beside it.
    mkdir -p "$target/lib/modules" && cp -pR /lib/modules/. "$target/lib/modules/" &&
        unmount "$target/dev" "$target/proc" && close_target
}

# busybox' mkswap takes no UUID, so it is put where the kernel's union swap_header has it.
make_swap() { # DEVICE
    await "${1#/dev/}" && mkswap "$1" >>"$log" &&
        printf "$(field swap | sed 's/-//g; s/../\\x&/g')" |
        dd of="$1" bs=1 seek=1036 conv=notrunc,fsync status=none
}

wanted_packages() {
    {
        cat "$share/packages"
        answer packages
        for service in $(answer services); do
            sed -n "s/^$service //p" "$share/service-packages"
        done
    } | tr ' ' '\n' | grep . | sort -u
}

# Where packages come from, into $sources.
repositories() {
    sources=$share/repository/muster
    for each in $(answer_all repository | grep . || echo medium); do
        case $each in
        medium) each="$share/repository/main" ;;
        http*) network_up || { say "There is no network to fetch packages over."; return 1; } ;;
        *:/*)
            one_device "${each%%:/*}" && mount_read_only "$device" "$work/repository" || return 1
            each=$work/repository/${each#*:/}
            ;;
        esac
        sources="$sources $each"
    done
}

step_settings() {
    open_target || return 1
    echo "$(answer hostname muster)" >"$target/etc/hostname"
    printf '127.0.0.1\tlocalhost %s\n::1\tlocalhost\n' "$(answer hostname muster)" >"$target/etc/hosts"
    {
        echo "UUID=$(field root) / ext4 rw,relatime 0 1"
        volume=$(field boot | cut -c 1-8 | tr a-f A-F)
        echo "UUID=$(echo "$volume" | sed 's/..../&-/') /boot vfat noauto,umask=077 0 0"
        [ "$(answer swap 0)" = 0 ] || echo "UUID=$(field swap) none swap sw 0 0"
    } >"$target/etc/fstab"
    answer_all mirror | grep . >"$target/etc/apk/repositories" ||
        printf 'https://dl-cdn.alpinelinux.org/alpine/v3.19/%s\n' main community \
            >"$target/etc/apk/repositories"
    network_settings && users && service_files && close_target
}

network_settings() {
    interface=$(answer interface eth0)
    file=$target/etc/muster/services/network.pr
    [ "$(answer dns)" = "" ] || for server in $(answer dns); do echo "nameserver $server"; done \
        >"$target/etc/resolv.conf"
    case $(answer network dhcp) in
    none) rm -f "$file" && return ;;
    dhcp) command="\"ip link set $interface up && exec udhcpc -f -i $interface\"" ;;
    static)
        command="ip link set $interface up && ip address replace $(answer address) dev $interface"
        [ -z "$(answer gateway)" ] || command="$command && ip route replace default via $(answer gateway)"
        command="<one-shot \"$command\">"
        ;;
    esac
    cat >"$file" <<END
# The network, as it was asked for at the installation.
<require-service <daemon network>>
let ?link = pattern <interface "$interface" _>
<depends-on <daemon network> <present \$link>>
<daemon network $command>
END
}

# login NAME PASSWORD-HASH: none lets nobody in by a password, but by a key.
login() {
    case $2 in none | '') set -- "$1" '*' ;; esac
    echo "$1:$2" | chroot "$target" chpasswd -e 2>>"$log"
}

# key NAME HOME KEY
key() {
    folder=$target$2/.ssh
    mkdir -p "$folder" && chmod 700 "$folder" || return 1
    grep -q -x -F "$3" "$folder/authorized_keys" 2>/dev/null || echo "$3" >>"$folder/authorized_keys"
    chmod 600 "$folder/authorized_keys" && chroot "$target" chown -R "$1:$1" "$2/.ssh"
}

# As the packages left them. When the power goes, the tools that change them may leave a user in one and
# not in the other, and the files that they write to before they rename them, at which they then stop.
fresh_tables() {
    tables=$target/etc/.muster-install
    if [ ! -d "$tables" ]; then
        rm -rf "$tables.new" && mkdir -m 700 "$tables.new" || return 1
        for table in passwd shadow group; do
            cp -p "$target/etc/$table" "$tables.new/" || return 1
        done
        sync && mv "$tables.new" "$tables" || return 1
    fi
    for table in passwd shadow group; do
        rm -f "$target/etc/$table+" && cp -p "$tables/$table" "$target/etc/$table" || return 1
    done
    rm -f "$target/root/.ssh/authorized_keys"
}

users() {
    fresh_tables && login root "$(answer password none)" || return 1
    answer_all key >"$work/keys"
    while IFS= read -r line; do key root /root "$line" || return 1; done <"$work/keys"
    user=
    grep '^user' "$work/answers" >"$work/users"
    while IFS= read -r line; do
        value=${line#*=}
        case ${line%%=*} in
        user)
            user=$value
            grep -q "^$user:" "$target/etc/passwd" ||
                chroot "$target" adduser -D "$user" || return 1
            rm -f "$target/home/$user/.ssh/authorized_keys"
            login "$user" none
            ;;
        user-password) login "$user" "$value" || return 1 ;;
        user-key) key "$user" "/home/$user" "$value" || return 1 ;;
        user-groups)
            for group in $value; do chroot "$target" addgroup "$user" "$group" || return 1; done
            ;;
        esac
    done <"$work/users"
    sync && mv "$tables" "$tables.new" && rm -r "$tables.new"
}

service_files() {
    for service in $(known_services); do
        case " $(answer services) " in
        *" $service "*) cp "$share/services/$service.pr" "$target/etc/muster/services/" || return 1 ;;
        *) rm -f "$target/etc/muster/services/$service.pr" ;;
        esac
    done
}

# What firmware looks at comes last: the code in the first sector.
step_boot_loader() {
    open_target && close_target &&
        dd if="$share/gptmbr.bin" of="/dev/$disk" bs=440 count=1 conv=notrunc,fsync status=none
}

# The log of earlier tries, before the file system that it is on is made anew.
earlier_log() {
    rm -f "$work/log.earlier"
    [ "$(tag TYPE "$(blkid "/dev/$root")")" = ext4 ] && open_target || { saved=0 && return; }
    mv "$target/var/log/muster-install.log" "$work/log.earlier"
    unmount "$target"
}

open_target() {
    let_go
    mkdir -p "$target"
    await "$root" || return 1
    # After a power cut the file system's own journal is replayed, whatever it is needed for.
    mount -t ext4 "/dev/$root" "$target" && save_log
}
close_target() { save_log && unmount "$target"; }

# Errors are told apart from those of an earlier try or step by a mark among the kernel's messages, of
# which only the newest are kept.
begin_watching() { # STEP
    echo "<6>muster-install: $disk, $1" >"$kmsg"
    log_size=$(wc -c <"$log")
}

# What the disk did not take, as the kernel says. Writing through a file system, nobody else is told.
write_errors() {
    dmesg | awk -v error="error, dev $disk," '/muster-install: / { text = "" }
        index($0, error) { text = text $0 "\n" } END { printf "%s", text }'
}

# What was logged since.
new_in_log() { tail -c +$((log_size + 1)) "$log"; }

# On the disk when this returns.
unmount() { sync && umount "$@"; }

mounted() { grep -q " $1 " /proc/mounts; }

# What an earlier try left mounted.
let_go() {
    for place in "$target/dev" "$target/proc" "$target.boot" "$target" "$work/repository"; do
        ! mounted "$place" || umount "$place" || umount -l "$place"
    done
}

# Why a step may have failed, in words.
diagnose() { # STEP
    if [ -n "$(write_errors)" ]; then
        say "$disk does not take what is written to it: $(write_errors | tail -n 1 |
            sed 's/.*error, dev/error, dev/; s/ op .*//')."
    elif [ "$(df -P "$target" 2>/dev/null | awk -v at="$target" '$6 == at { print ($4 < 512) }')" = 1 ] ||
        new_in_log | grep -q "No space left"; then
        say "$disk is full: choose fewer packages or a larger disk."
    else
        { new_in_log | grep -i error; new_in_log | tail -n 3; } | tail -n 6 | sed 's/^/    /'
    fi
}

# run_steps: all that the journal does not call done. Fails with the step in $step.
run_steps() {
    boot=$(partition "$disk" 1) root=$(partition "$disk" 2)
    [ "$(answer swap 0)" = 0 ] || root=$(partition "$disk" 3)
    count=$(echo "$steps" | wc -w) number=0
    estimate
    for step in $steps; do
        number=$((number + 1))
        journal_done "$step" && { say "Step $number of $count, $step: done before"; continue; }
        say "Step $number of $count, $step: $((count - number)) to go after it, $(remaining)"
        begin_watching "$step"
        now
        began=$now
        journal_mark "$disk" begun "$step" || return 1
        "step_$(echo "$step" | tr - _)" 2>>"$log" && [ -z "$(write_errors)" ] || return 1
        now
        took=$((now - began))
        echo "took-$step $took" >>"$work/journal"
        journal_mark "$disk" "done" "$step" || return 1
        say "Step $number of $count, $step: done in $took s"
        estimate
    done
}
