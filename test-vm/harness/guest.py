"""What the harness puts into the guest: a service that runs the command, and its script.

The command itself is not in there: the script says `ready` on its control line and gets it as an
answer. So the same files may also sit in a disk image that the guest boots from.
"""

import base64
import os
import shlex

FOLDER = "/usr/lib/test-command"

SERVICE = "/etc/muster/services/test-command.pr"
SERVICE_TEXT = """\
# Added by test-vm/boot: runs its command once the system is up.
<require-service <daemon test-command>>
<depends-on <daemon test-command> <service-state <milestone default> ready>>
<daemon test-command <one-shot ["/bin/sh" "%s/run"]>>
""" % FOLDER

# stdout and stderr are lines of their own. In a namespace they are named pipes beside the script,
# in a machine serial ports, which start out as terminals and would change what goes through.
RUN_TEXT = """\
#!/bin/sh
# Added by test-vm/boot: runs one command for it. The last port carries control: "ready" out, the
# command in, "exit STATUS" out.
here=%s
if [ -p "$here/control" ]; then
    exec 3>"$here/control" 4<"$here/command" 5>"$here/stdout" 6>"$here/stderr"
else
    exec 3>/dev/ttyS3 4</dev/ttyS3 5>/dev/ttyS1 6>/dev/ttyS2
    for port in 1 2 3; do stty raw -echo <"/dev/ttyS$port"; done
    export NO_COLOR=1 # nobody looks at these terminals
fi
[ ! -f "$here/before" ] || . "$here/before"
echo ready >&3
IFS= read -r code <&4 || exit 1
code=$(echo "$code" | base64 -d)
cd /
status=0
HOME=/root TERM=${TERM:-linux} sh -c "$code" </dev/null >&5 2>&6 3>&- 4<&- 5>&- 6>&- || status=$?
exec 5>&- 6>&-
echo "exit $status" >&3
muster poweroff || kill -USR2 1
""" % FOLDER

SHELL_SERVICE = "/etc/muster/services/getty.pr"
SHELL_SERVICE_TEXT = """\
# Put by test-vm/boot in the place of the logins: a root shell on the console.
<require-service <daemon console-shell>>
<depends-on <daemon console-shell> <service-state <milestone default> ready>>
<daemon console-shell <one-shot ["/bin/sh" "%s/shell"]>>
""" % FOLDER

SHELL_TEXT = """\
#!/bin/sh
# Added by test-vm/boot: a root shell on the console; the system goes down when it ends.
console=/dev/console
[ ! -c /dev/ttyS0 ] || console=/dev/ttyS0
exec <"$console" >"$console" 2>&1
stty sane %s
cd /root 2>/dev/null || cd /
HOME=$PWD TERM=${TERM:-linux} sh -l
muster poweroff || kill -USR2 1
"""


def files(interactive=False):
    """Name in the guest -> (mode, bytes)."""
    if interactive:
        size = os.get_terminal_size(1)
        text = SHELL_TEXT % f"rows {size.lines or 24} columns {size.columns or 80}"
        return {SHELL_SERVICE: (0o644, SHELL_SERVICE_TEXT.encode()),
                FOLDER + "/shell": (0o755, text.encode())}
    return {SERVICE: (0o644, SERVICE_TEXT.encode()),
            FOLDER + "/run": (0o755, RUN_TEXT.encode())}


def line(command):
    """The answer to `ready`."""
    return base64.b64encode(os.fsencode("exec " + shlex.join(command))) + b"\n"
