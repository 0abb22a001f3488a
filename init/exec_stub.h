// `init --exec`: does for a service what cannot be done between clone and exec, then becomes it.
//
//   init --exec [--error-fd N] [--tty PATH] [--dir PATH] [--umask OCTAL] [--user USER[:GROUP]]
//               -- PROGRAM [ARGUMENT]…
//
// In this order: umask, terminal (a session of its own with PATH as controlling terminal and as
// stdin, stdout and stderr), user and groups, directory, program. USER and GROUP are names of
// /etc/passwd and /etc/group or numbers; the user's supplementary groups come from /etc/group. The
// program is searched in PATH if its name has no slash.
//
// A step that fails is reported: as a records::ExecFailure on descriptor N, else as a line on
// stderr; the exit status is then 127 (the program is not there), 126 otherwise. N is
// close-on-exec, so end of file on its other end means that the program was executed. A wrong
// argument: exit 2.
#pragma once

namespace muster::pid1 {

// argv[0] is what follows `--exec`.
int run_exec_stub(int argc, char** argv);

} // namespace muster::pid1
