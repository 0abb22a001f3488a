"""--bus: the guest's bus as a Unix socket here, from the default milestone to the command's end."""

import os
import socket
import threading

from .failure import Failure


class Bus:
    def __init__(self, path):
        self.path = path
        self.listener = None
        self.made = False
        if os.path.lexists(path):
            raise Failure(f"--bus {path}: exists already")

    def link(self, target):
        """The namespace's socket can be reached as a file: nothing stands between."""
        os.symlink(target, self.path)
        self.made = True

    def forward(self, address):
        """The machine's is a TCP port: bytes are carried over, each connection for itself."""
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.made = True
        os.chmod(self.path, 0o600)
        self.listener.listen(64)
        threading.Thread(target=self._accept, args=(address,), daemon=True).start()

    def _accept(self, address):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            # The guest's listener has next to no queue, and who does not fit in it waits for
            # seconds. So one after the other: a newline comes when a connection is accepted.
            # Just after the milestone it may not listen yet: then the connection ends at once.
            far = None
            while not far and self.listener.fileno() >= 0:
                far = connect(address)
            if not far:
                return
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=carry, args=(source, sink), daemon=True).start()

    def end(self):
        """Connections that there are go on. Without this, clients that try again while the system
        ends keep the guest so busy with refusing them that it does not get to power off."""
        if self.listener:
            self.listener.close()
        if self.made:
            self.made = False
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                pass


def connect(address):
    try:
        far = socket.create_connection(address)
        if far.recv(1):
            return far
        far.close()
    except OSError:
        pass
    return None


def carry(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for end, how in ((sink, socket.SHUT_WR), (source, socket.SHUT_RD)):
        try:
            end.shutdown(how)
        except OSError:
            pass
