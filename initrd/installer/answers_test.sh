#!/bin/sh
# Answers: what is read, and what is refused with its place.
set -eu
here=$(cd "${0%/*}" && pwd)
INSTALLER_WORK=$(mktemp -d)
trap 'rm -rf "$INSTALLER_WORK"' EXIT
shell=busybox
command -v busybox >/dev/null || { echo "skip installer answers: no busybox"; exit 0; }
export INSTALLER_WORK

# run SCRIPT: with the installer's functions
run() { $shell ash -uc "share=$here; . $here/say.sh; . $here/disks.sh; . $here/answers.sh; $1" 2>&1; }

# check NAME SCRIPT EXPECTED
check() {
    got=$(run "$2") || :
    if [ "$got" = "$3" ]; then echo "ok installer: $1"; else
        echo "not ok installer: $1: $got"
    fi
}

file=$INSTALLER_WORK/file
printf '# all\n disk = vda \r\nhostname=box\nkey = ssh-ed25519 AAAA+/= anna at home\npassword = $6$a$b\n' >"$file"
check "a file of answers" "read_answers $file f && cat \$work/answers" 'disk=vda
hostname=box
key=ssh-ed25519 AAAA+/= anna at home
password=$6$a$b'
printf 'hostname = box\n\n# no\ncolour = blue\nnetwork = maybe\n' >"$file"
check "wrong answers have their line" "read_answers $file f" 'f:4: there is no answer "colour"
f:5: network: this cannot be: maybe'
printf 'hostname = box\nwhat is this\n' >"$file"
check "no answer at all" "read_answers $file f" 'f:2: not KEY = VALUE: what is this'
printf 'network = static\nuser-key = ssh-rsa AAAA\n' >"$file"
check "what needs something else" "read_answers $file f" 'f:2: user-key comes before any user
f: network is static, but there is no address'
printf 'hostname = a b\nuser = Ro;ot\npackages = x $(reboot)\naddress = 1.2.3.4/24;x\n' >"$file"
check "nothing that a shell would take" "read_answers $file f | cut -d: -f1-3" 'f:1: hostname
f:2: user
f:3: packages
f:4: address'
check "a word of the command line" "read_word 'disk=vda,key=ssh-rsa%20AAAA%20a%2cb' && cat \$work/answers" \
    'disk=vda
key=ssh-rsa AAAA a,b'
printf 'key = ssh-rsa AAAA=\n' >"$file"
check "an equals sign at the end" "read_answers $file f && answer key" 'ssh-rsa AAAA='
