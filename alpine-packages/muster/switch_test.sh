#!/bin/bash
# switch: what was there is on the disk before its name goes to another, both ways. sync(1) is watched:
# it notes what is what at that moment, and then does its work.
set -u
cd "$(dirname "$0")" || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
not_ok() { cat "$work/log"; echo "not ok switch: $*"; exit 1; }
root=$work/root
before=$root/var/lib/muster/before
mkdir -p "$root/sbin" "$root/bin" "$work/bin"
echo "the first init" >"$root/sbin/init"
ln -s /bin/busybox "$root/sbin/halt"
cat >"$work/bin/sync" <<_
#!/bin/sh
echo "\${1:-all}: \$(readlink $root/sbin/init || cat $root/sbin/init)" >>$work/log
exec $(command -v sync) "\$@"
_
chmod +x "$work/bin/sync"
turn() { : >"$work/log" && PATH=$work/bin:$PATH ROOT=$root ./switch "$1"; }
noted() { grep -qxF "$1" "$work/log" || not_ok "not synced: $1"; }

turn on || not_ok "on"
noted "$before/init: the first init"
noted "$before: the first init"
[ "$(readlink "$root/sbin/init")" = /usr/libexec/muster/init ] || not_ok "on: init"
[ "$(readlink "$before/halt")" = /bin/busybox ] || not_ok "on: halt"
turn on || not_ok "on twice"
[ "$(cat "$before/init")" = "the first init" ] || not_ok "on twice: what was before"
turn off || not_ok "off"
noted "$root/sbin/init.muster-new: /usr/libexec/muster/init"
[ "$(cat "$root/sbin/init")" = "the first init" ] || not_ok "off: init"
[ "$(readlink "$root/sbin/halt")" = /bin/busybox ] || not_ok "off: halt"
[ ! -e "$root/var/lib/muster" ] && [ -z "$(find "$root" -name '*.muster-new')" ] || not_ok "off: leftovers"
echo "ok switch: what was there is on the disk before it is replaced"
