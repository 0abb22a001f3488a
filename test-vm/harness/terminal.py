"""Joins our terminal to the guest's console until the guest is gone. Ctrl-] ends it at once."""

import os
import select
import termios
import tty

from .session import write_all

LEAVE = b"\x1d"


def join(system, log_path):
    """`log_path`: where to keep what the console says, or None if the system does so itself."""
    before = termios.tcgetattr(0)
    log = os.open(log_path, os.O_WRONLY | os.O_APPEND) if log_path else None
    poll = select.poll()
    for source in (0, system.terminal, system.pidfd):
        poll.register(source, select.POLLIN)
    try:
        tty.setraw(0)
        while True:
            ready = [source for source, _ in poll.poll()]
            if system.terminal in ready:
                try:
                    data = os.read(system.terminal, 65536)
                except OSError:  # a terminal that nobody has open at the moment
                    data = b""
                write_all(1, data)
                if log is not None:
                    write_all(log, data)
                if not data and system.pidfd in ready:
                    return
            elif system.pidfd in ready:
                return
            if 0 in ready:
                data = os.read(0, 4096)
                if not data or LEAVE in data:
                    return
                write_all(system.terminal, data)
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
        if log is not None:
            os.close(log)
