"""fabric_stranger.py - somebody on the fabric port of an engine (ofi:tcp) who says what the test wants, byte by byte.

Three layers, from the outside: libfabric's connection messages (a head of 32 bytes, then private data), the gate's private
data (src/net/ofi/ofi_gate.c), and the messages of the relay (src/net/relay/relay_wire.h) in libfabric's data messages.
"""
import hashlib
import hmac
import os
import socket
import struct

REQUEST, RESPONSE, REJECTION = 0, 1, 6
KNOCK, COOKIE, ENTER, REFUSED, BUSY = 1, 2, 3, 4, 5
GATE_REASONS = ["not a Valence engine", "wrong secret", "a secret is wanted here", "no secret is used here"]
HELLO, WELCOME, REFUSE, CHALLENGE, PROOF = 1, 2, 3, 16, 17
MAGIC, VERSION, ROLE_JOIN, ROLE_PROBE = 0x6c76766c, 4, 3, 4


def code(secret, *parts):
    return hmac.new(secret, b"".join(parts), hashlib.sha256).digest()


def label(text):
    return text.encode().ljust(16, b"\0")


def request(data=b"", announce=None):
    """A connection request; @announce: how much private data it says there is."""
    return struct.pack(">BBH", 3, REQUEST, len(data) if announce is None else announce) + struct.pack("<IQQQ", 0, 0, 0, 1) + data


def dial(port, source="127.0.0.1", timeout=10):
    s = socket.socket()
    s.settimeout(timeout)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no TIME_WAIT: ports are few
    s.bind((source, 0))
    s.connect(("127.0.0.1", port))
    return s


def exactly(s, count):
    data = b""
    while len(data) < count:
        more = s.recv(count - len(data))
        if not more:
            raise ConnectionError("closed")
        data += more
    return data


def answer(s):
    """(type, private data) of what a request was answered with."""
    head = exactly(s, 32)
    return head[1], exactly(s, struct.unpack(">H", head[2:4])[0])


def ask(port, data=b"", source="127.0.0.1"):
    """One request, its answer, and the end of the connection."""
    s = dial(port, source)
    try:
        s.sendall(request(data))
        return answer(s)
    finally:
        s.close()


class Link:
    """Through the gate with the secret, then messages of the relay."""

    def __init__(self, port, secret):
        nonce = os.urandom(16)
        kind, data = ask(port, bytes([KNOCK]) + nonce)
        assert kind == REJECTION and data[0] == COOKIE, (kind, data)
        cookie = data[1:]
        self.entry = bytes([ENTER]) + nonce + code(secret, label("valence enter"), nonce, cookie)
        self.sock = dial(port)
        self.sock.sendall(request(self.entry))
        kind, data = answer(self.sock)
        if kind != RESPONSE:
            raise ConnectionError("turned away: " + (GATE_REASONS[data[1]] if data[:1] == bytes([REFUSED]) else repr(data)))
        assert data == code(secret, label("valence opened"), nonce, cookie)
        self.secret, self.stream = secret, b""

    def say(self, message):
        """One message of ours is one of libfabric's: its head of 16 bytes, our head of 8, the bytes padded to 8."""
        body = struct.pack("<II", len(message), 0) + message + b"\0" * (-len(message) % 8)
        self.sock.sendall(struct.pack("<BBHBBBBQ", 3, 0, 0, 0, 0, 16, 0, 16 + len(body)) + body)

    def hear(self):
        while True:
            if len(self.stream) >= 8:
                count = struct.unpack("<I", self.stream[:4])[0]
                padded = 8 + count + -count % 8
                if len(self.stream) >= padded:
                    message, self.stream = self.stream[8:8 + count], self.stream[padded:]
                    return message
            head = exactly(self.sock, 16)
            self.stream += exactly(self.sock, struct.unpack("<Q", head[8:])[0] - 16)

    def hello(self, version=VERSION, log_id=0, proves=1, magic=MAGIC, role=ROLE_PROBE, challenge=None):
        """What was sent."""
        text = b"\x0b127.0.0.1:9\x08stranger"
        m = struct.pack("<BIHBQQQQIB", HELLO, magic, version, role, log_id, 0, 0, 4711, 1, proves)
        m += (challenge or os.urandom(32)) + text
        self.say(m)
        return m

    def prove(self, hello, secret=None):
        """Answers the challenge that comes; what was sent."""
        challenge = self.hear()
        assert challenge[0] == CHALLENGE, challenge
        proof = bytes([PROOF]) + code(secret or self.secret, label("valence dialler"), struct.pack("<I", len(hello)), hello,
                                      struct.pack("<I", len(challenge)), challenge)
        self.say(proof)
        return proof

    def refusal(self):
        """The reason of the refusal that comes, as text; what else comes instead."""
        m = self.hear()
        return m[3:].decode() if m[0] == REFUSE else repr(m)

    def close(self):
        self.sock.close()
