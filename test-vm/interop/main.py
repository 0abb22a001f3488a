"""Runs the tests: functions `test_…` of the modules below, one after the other.

usage: main.py [TEST...]
"""

import asyncio
import importlib
import inspect
import logging
import sys
import traceback

from server import PROGRAM

MODULES = ["exact_bytes", "options", "peer", "conversation", "chat"]
LIMIT = 120  # seconds for one test




def run(test):
    if not inspect.iscoroutinefunction(test):
        return test()

    async def guarded():
        await asyncio.wait_for(test(), LIMIT)

    return asyncio.run(guarded())


def main(wanted):
    logging.basicConfig(level=logging.ERROR)
    failed = False
    for module in map(importlib.import_module, MODULES):
        for name, test in list(vars(module).items()):
            if not name.startswith("test_") or (wanted and name[5:] not in wanted):
                continue
            label = f"interop {module.__name__}: {name[5:].replace('_', ' ')}"
            try:
                run(test)
            except BaseException as error:
                failed = True
                traceback.print_exc()
                lines = str(error).splitlines() or [type(error).__name__]
                print(f"not ok {label}: {lines[0]}", flush=True)
                if isinstance(error, KeyboardInterrupt):
                    break
            else:
                print(f"ok {label}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        open(PROGRAM, "rb").close()
    except OSError as error:
        sys.exit(f"{error}: run make first")
    sys.exit(main(sys.argv[1:]))
