// `init --exec`: does for a service what cannot be done between clone and exec, then becomes it.
//
//   init --exec [OPTION VALUE]… -- PROGRAM [ARGUMENT]…
//
// In this order, each only if asked for:
//   --tty PATH              a session of its own with this controlling terminal as stdin, stdout
//                           and stderr
//   --stdin PATH            standard descriptors: files, opened as root; to write, PATH has >
//   (anew)
//   --stdout --stderr       or >> (append) in front; &1: the same as stdout
//   --env-file PATH         a file of NAME=VALUE lines, more than once; - in front: it may be
//   missing
//   --umask OCTAL
//   --oom-score N           -1000 to 1000
//   --nice N
//   --limit NAME=SOFT[:HARD]  as setrlimit(2): nofile, core, …; more than once
//   --namespaces NAME,…     mount, net, ipc, uts, cgroup; pid: we are process 1 of one already
//   --read-only PATH        mounts of its own; more than once each; - in front: it may be missing
//   --writable PATH           (within what is read-only)
//   --hidden PATH
//   --private tmp             (an empty /tmp and /var/tmp)
//   --root DIR              the paths above, except of descriptors and variables, are below it
//   --user USER[:GROUP]     names of /etc/passwd and /etc/group or numbers; sets USER, LOGNAME,
//   HOME
//   --group GROUP           and SHELL unless they are set
//   --groups GROUP,…        the supplementary ones; otherwise those of /etc/group
//   --capabilities NAME,…   has these, and neither it nor what it executes can get others
//   --dir PATH
//   --no-new-privileges yes
// The program is searched in PATH if its name has no slash.
//
// A step that fails is reported: as a records::ExecFailure on descriptor N of `--error-fd N`, else
// as a line on stderr; the exit status is then 127 (the program is not there), 126 otherwise. N is
// close-on-exec, so end of file on its other end means that the program was executed. A wrong
// argument: exit 2.
#pragma once

namespace muster::pid1 {

// argv[0] is what follows `--exec`.
int run_exec_stub(int argc, char** argv);

} // namespace muster::pid1
