"""Puts the parts together and takes them apart again, whatever happens in between."""

import os
import signal

from .bus import Bus
from .failure import Failure, Interrupted
from .options import parse
from .session import Session, say
from .workspace import Workspace


def main(arguments):
    workspace = None
    try:
        options = parse(arguments)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, interrupt)
        workspace = Workspace()
        return boot(options, workspace)
    except Failure as failure:
        say(f"boot: {failure}")
        if workspace and not isinstance(failure, Interrupted):
            say(f"--- end of {os.path.relpath(workspace.console)}:\n{workspace.tail()}\n---")
        return failure.status
    finally:
        if workspace:
            workspace.remove()


def interrupt(number, _):
    for again in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(again, signal.SIG_IGN)
    raise Interrupted(number)


def boot(options, workspace):
    interactive = not options.command and os.isatty(0) and os.isatty(1)
    if options.place == "vm":
        from .vm import Machine as System
    else:
        from .namespace import Container as System
    bus = Bus(options.bus) if options.bus else None
    system = System(workspace)
    try:
        system.start(options, workspace, interactive)
        if interactive:
            from . import terminal
            say("boot: Ctrl-] ends the system at once\r")
            terminal.join(system, None if options.place == "vm" else workspace.console)
            return 0
        return Session(system, options, lambda: open_bus(bus, system),
                       lambda: bus and bus.end()).run()
    except Failure as failure:
        if explanation := system.explain():
            raise Failure(f"{failure}\n{explanation}", failure.status) from None
        raise
    finally:
        if bus:
            bus.end()
        system.end()


def open_bus(bus, system):
    if not bus:
        return
    if hasattr(system, "bus"):
        bus.link(system.bus())
    else:
        bus.forward(system.bus_address)
