"""The exact bytes of the protocol's documentation, on a live listener: what goes in, and what must
come out. Handles are the sender's own choice, so those of the server are put in where it did."""

from preserves import encode

from server import Server
from wire import Raw

RESOLVE = bytes.fromhex(
    "b5b5b000b4b30141b4b3077265736f6c7665b4b303726566b7b3036f6964b10973796e646963617465b303736967b2"
    "1069ca300c1dbfa08fba692102dd82311a848486b5b000b0008484b00101848484")
ACCEPTED = "b5b5b000b4b30141b4b308616363657074656486b5b000b001018484{handle}848484"
OK = "b5b5b000b4b30141b4b3026f6b86b5b000b001018484{handle}848484"
OBSERVE = bytes.fromhex(
    "b5b5b00101b4b30141b4b3074f627365727665b4b30567726f7570b4b303726563b3045361797384b7b000b4b30462"
    "696e64b4b3015f8484b00101b4b30462696e64b4b3015f8484848486b5b000b001028484b00102848484")
SAYS = bytes.fromhex("b5b5b00101b4b3014db4b30453617973b10870726f6475636572b20084848484")
SAID = bytes.fromhex("b5b5b00102b4b3014db5b10870726f6475636572b20084848484")
RETRACT = bytes.fromhex("b5b5b00101b4b30152b00102848484")
SYNC = bytes.fromhex("b5b5b000b4b3015386b5b000b0010784848484")
SYNCED = bytes.fromhex("b5b5b00107b4b3014d81848484")

# Signatures for the key "hello" and the oid a-service: bare, and narrowed to what alice says.
LABELLED = "<rewrite <bind <_>> <rec labelled [<lit \"{}\"> <ref 0>]>>"
SIGNATURES = [
    ("", "#[JTTGQeYCgohMXW/2S2XH8g]"),
    (LABELLED.format("alice"), "#[CXn7+rAoO3Xr6Y6Laap3OA]"),
    (LABELLED.format("bob"), "#[/75BbF77LOiqNcvpzNHf0g]"),
]


def handle_in(packet):
    return encode(packet[0][1].fields[-1]).hex()


def speak(address, answer):
    with Raw(address) as peer:
        peer.send(RESOLVE)
        packet, data = peer.receive()
        assert data.hex() == answer.format(handle=handle_in(packet)), data.hex()
        peer.send(OBSERVE)
        peer.send(SAYS)
        assert peer.receive()[1] == SAID
        peer.send(RETRACT)
        peer.send(SAYS)
        peer.send(SYNC)
        assert peer.receive()[1] == SYNCED
        # The same in text, one byte at a time.
        for byte in b'[[1 <A <Observe <group <rec x> {0: <bind <_>>}> #:[0 3]> 4>]] [[1 <M <x y>>]]':
            peer.send(bytes([byte]))
        line = b"[[3, <M [y]>]]\n"
        received = b""
        while len(received) < len(line):
            received += peer.socket.recv(len(line) - len(received))
        assert received == line, received


def test_packets():
    with Server() as server:
        for address in (server.gatekeeper, ("127.0.0.1", server.port)):
            speak(address, ACCEPTED)
    with Server(arguments=["--gatekeeper-answers", "ok"]) as server:
        speak(server.gatekeeper, OK)


def resolve(address, caveats, signature):
    """What becomes of <resolve …>: the label of the answer."""
    with Raw(address) as peer:
        caveats = f"caveats: [{caveats}]" if caveats else ""
        peer.send(f"[[0 <A <resolve <ref {{oid: a-service sig: {signature} {caveats}}}> "
                  "#:[0 0]> 1>]]")
        line = peer.socket.recv(4096).decode()
        return line.partition("<A <")[2].partition(" ")[0]


def test_signatures():
    with Server() as server:
        for caveats, signature in SIGNATURES:
            got = resolve(server.gatekeeper, caveats, signature)
            assert got == "accepted", f"{caveats}: {got}"
            # With another one's signature, or without it.
            for _, wrong in SIGNATURES:
                if wrong != signature:
                    got = resolve(server.gatekeeper, caveats, wrong)
                    assert got == "rejected", f"{caveats} with {wrong}: {got}"
            assert resolve(server.gatekeeper, caveats, '#""') == "rejected"
