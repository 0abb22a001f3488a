"""A connection on which a test reads and writes packets itself, byte for byte."""

import socket

from preserves import Decoder, encode, parse
from preserves.binary import Encoder

from server import GUARD


class Raw:
    def __init__(self, address):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(GUARD)
        self.socket.connect(address)
        self.decoder = Decoder(decode_embedded=lambda value: value)
        self.unread = b""

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def receive(self):
        """The next packet and its bytes; (None, b"") at the end."""
        while True:
            if self.unread:
                decoder = Decoder(self.unread, decode_embedded=lambda value: value)
                packet = decoder.try_next()
                if packet is not None:
                    used, self.unread = self.unread[:decoder.index], self.unread[decoder.index:]
                    return packet, used
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                return None, b""
            self.unread += more

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


__all__ = ["Encoder", "Raw", "encode", "parse"]
