#!/bin/bash
# Images: the same input gives the same bytes, also by somebody without privileges, another one gives
# other UUIDs, the bill of materials lists what is in there, wrong descriptions are refused with their
# line, the initrd stays small.
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d build/.image-test-XXXXXX)
trap 'rm -rf "$work"' EXIT
not_ok() { echo "not ok image: $*"; exit 1; }

# The initrd without kernel modules: what these take when they are compressed the same way is taken off.
modules=$(tar -C build/initrd -c modules | zstd -q -12 -c | wc -c)
size=$(($(stat -c %s build/initrd/initrd.img) - modules))
[ $size -lt 6000000 ] || not_ok "the initrd without modules has $size bytes"
echo "ok image: the initrd without modules has $((size / 1000)) KB"

[ -s build/initrd/mirror ] || { echo "skip image: no Alpine packages"; exit 0; }
{ init/toolchain/needs install image && make repository; } >"$work/log" 2>&1 ||
    { cat "$work/log"; not_ok "what images need is not there"; }

# Nothing is shared between the two, and the clock goes on. The second is made by somebody without
# privileges, if this has any to give up.
nobody=
if [ "$(id -u)" = 0 ] && setpriv --reuid=65534 --regid=65534 --clear-groups \
    test -r build/initrd/initrd.img -a -r initrd/image 2>/dev/null; then
    nobody="setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs --inh-caps=-all"
fi
make_image() { # NAME COMMAND...
    mkdir "$work/$1.d"
    [ -z "$2" ] || chown 65534:65534 "$work/$1.d"
    # shellcheck disable=SC2086
    MUSTER_CACHE=$work/$1.d/cache $2 initrd/image initrd/muster.image "$work/$1.d/disk" >"$work/log" 2>&1 ||
        { cat "$work/log"; not_ok "no image"; }
    for file in "" .spdx.json .packages.txt; do mv "$work/$1.d/disk$file" "$work/$1$file"; done
}
chmod 755 "$work"
make_image first ""
make_image second "$nobody"
cmp "$work/first" "$work/second" && cmp "$work/first.spdx.json" "$work/second.spdx.json" ||
    not_ok "the same input gives other bytes"
echo "ok image: the same input gives the same bytes${nobody:+, and without privileges}"

# A comment is enough to tell a description, and its disks, from another.
{ cat initrd/muster.image; echo "# of the second machine"; } >"$work/another.image"
read -r mirror <build/initrd/mirror
for description in initrd/muster.image "$work/another.image"; do
    mkdir "$work/tree"
    # shellcheck disable=SC2086
    build/host/image_tree --description "$description" --own "build/packages/$(uname -m)" $mirror \
        --output "$work/tree" | sed -n 's/.*_uuid=//p'
    rm -rf "$work/tree"
done >"$work/uuids"
[ "$(wc -l <"$work/uuids")" = 8 ] && [ "$(sort -u "$work/uuids" | wc -l)" = 8 ] ||
    { cat "$work/uuids"; not_ok "two disks, the same UUIDs"; }
echo "ok image: another description gives other UUIDs"

python3 - "$work/first" <<'PYTHON' || not_ok "the bill of materials"
import json, re, sys
name = sys.argv[1]
bill = json.load(open(name + ".spdx.json"))
listed = {p["name"] + "-" + p["versionInfo"] for p in bill["packages"]}
there = {line.split("\t")[0] for line in open(name + ".packages.txt")}
assert bill["spdxVersion"] == "SPDX-2.3" and bill["SPDXID"] == "SPDXRef-DOCUMENT"
assert there <= listed, there - listed
initrd = {line.split("\t")[0] for line in open("build/initrd/packages.txt")}
assert initrd <= listed, initrd - listed
assert len(listed) == len(bill["packages"]), "something is listed twice"
assert any(n.startswith("muster-0") for n in listed)
assert any(n.startswith("linux-") for n in listed - there), listed - there
ids = [p["SPDXID"] for p in bill["packages"]]
assert len(ids) == len(set(ids)) == len(bill["relationships"])
for p in bill["packages"]:
    assert re.fullmatch(r"unknown|[0-9][A-Za-z0-9.+:~_-]+", p["versionInfo"]), p
    assert p["downloadLocation"] and p["licenseDeclared"] and p["externalRefs"]
    assert re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", p["SPDXID"])
PYTHON
# What is only in the initrd is on the disk as well.
printf 'packages alpine-baselayout busybox busybox-binsh\n' >"$work/small.image"
mkdir "$work/tree"
# shellcheck disable=SC2086
build/host/image_tree --description "$work/small.image" --own "build/packages/$(uname -m)" $mirror \
    --initrd build/initrd/packages.txt --output "$work/tree" >/dev/null || not_ok "a small image"
grep -q '^e2fsprogs-' build/initrd/packages.txt && ! grep -q '^e2fsprogs-' "$work/tree/packages.txt" ||
    not_ok "no package is only in the initrd"
python3 - "$work/tree/spdx.json" <<'PYTHON' || not_ok "the bill of materials and the initrd"
import json, sys
listed = {p["name"] + "-" + p["versionInfo"]: p for p in json.load(open(sys.argv[1]))["packages"]}
initrd = {line.split("\t")[0] for line in open("build/initrd/packages.txt")}
assert initrd <= set(listed), initrd - set(listed)
for name in initrd:
    assert "@" in listed[name]["externalRefs"][0]["referenceLocator"], listed[name]
PYTHON
rm -rf "$work/tree"
echo "ok image: the bill of materials lists every package, those of the initrd too"

# DESCRIPTION MESSAGE: it is refused, and nothing is left
refused() {
    printf '%b' "$1" >"$work/x.image"
    ! initrd/image "$work/x.image" "$work/x" >"$work/log" 2>&1 || not_ok "accepted: $1"
    grep -q -F -e "$2" "$work/log" || { cat "$work/log"; not_ok "not said: $2"; }
    [ ! -e "$work/x" ] && [ -z "$(ls -d "$work"/.image-* 2>/dev/null)" ] || not_ok "something is left"
}
refused 'packages busybox\nlayout tape\n' "x.image:2: layout is disk or memory"
refused 'packages no-such-thing busybox\n' "no-such-thing"
refused 'packages alpine-baselayout busybox busybox-binsh\nuser ann groups=nobodys\n' \
    "user ann: there is no group nobodys"
refused 'packages alpine-baselayout busybox busybox-binsh\nkey ann ssh-ed25519 AAAA\n' \
    "key ann: there is no such user"
refused 'packages alpine-baselayout busybox busybox-binsh\nfile nothing /etc/x\n' "nothing: No such file"
refused 'packages alpine-baselayout busybox busybox-binsh\nsize 1M\n' \
    "x.image: size 1M is too small: what is in the image needs "
echo "ok image: wrong descriptions are refused with a reason"
