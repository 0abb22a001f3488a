// PID 1, and the stub that services start through. See run.h, pid1.h, exec_stub.h.
#include "init/run.h"

int main(int argc, char** argv) { return muster::pid1::run_init(argc, argv); }
