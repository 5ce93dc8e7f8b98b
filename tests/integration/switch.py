"""switch.py - an Ethernet switch in a process, with wires that can be bad: loss, duplicates, reordering, cuts.

hosts.py starts it: `switch.py CONTROL NAME=FD...`, where each FD is a tap device of a host's network namespace and CONTROL
a socket. It ends when that socket ends. Not netem on veth pairs, because kernels of small virtual machines lack netem.

A request is a line of JSON {"host": name, "way": "out" | "in", "loss": %, "duplicate": %, "reorder": %, "cut": bool}, where
what is not given is no longer so; or {"parts": [[name, ...], ...]}: between parts nothing passes; {} changes nothing. The answer is a line with what happened so far, counted in frames.
"out" is what that host sends. A reordered frame is held for 2 to 6 ms, while others pass.
"""
import heapq
import json
import os
import random
import selectors
import socket
import sys
import time

FRAME = 65536
BATCH = 64  # frames of one port in a row
HELD_MS = (2, 6)
LEARNT = slice(6, 12)


class Wire:
    """One host's end, in one way."""

    def __init__(self, loss=0, duplicate=0, reorder=0, cut=False):
        self.loss, self.duplicate, self.reorder, self.cut = loss / 100, duplicate / 100, reorder / 100, cut


class Switch:
    def __init__(self, control, taps):
        self.control, self.taps = control, taps
        self.wires = {name: {"out": Wire(), "in": Wire()} for name in taps}
        self.where = {}  # address -> name
        self.part = {}   # name -> number of its part
        self.held = []   # (when, number, name, frame)
        self.count = {"frames": 0, "lost": 0, "duplicated": 0, "reordered": 0, "cut": 0}
        self.random = random.Random(1)
        self.request = b""

    def put(self, name, frame):
        try:
            os.write(self.taps[name], frame)
        except OSError:
            self.count["lost"] += 1  # its queue is full

    def wire(self, name, way, frame, then):
        w, r = self.wires[name][way], self.random.random
        if w.cut:
            self.count["cut"] += 1
            return
        if w.loss and r() < w.loss:
            self.count["lost"] += 1
            return
        if w.duplicate and r() < w.duplicate:
            self.count["duplicated"] += 1
            then(frame)
        if w.reorder and r() < w.reorder:
            self.count["reordered"] += 1
            when = time.monotonic() + self.random.uniform(*HELD_MS) / 1000
            heapq.heappush(self.held, (when, self.count["reordered"], then, frame))
            return
        then(frame)

    def arrived(self, source, frame):
        """Past the source's wire: to whom it is for, or to all."""
        target = self.where.get(frame[:6])
        for name in [target] if target else self.taps:
            if self.part.get(name) != self.part.get(source):
                self.count["cut"] += 1
            elif name != source:
                self.wire(name, "in", frame, lambda f, name=name: self.put(name, f))

    def take(self, name):
        for _ in range(BATCH):
            try:
                frame = os.read(self.taps[name], FRAME)
            except BlockingIOError:
                return
            self.count["frames"] += 1
            self.where[frame[LEARNT]] = name
            self.wire(name, "out", frame, lambda f: self.arrived(name, f))

    def order(self):
        data = self.control.recv(FRAME)
        if not data:
            sys.exit(0)
        self.request += data
        while b"\n" in self.request:
            line, self.request = self.request.split(b"\n", 1)
            words = json.loads(line)
            if "parts" in words:
                self.part = {name: i for i, names in enumerate(words["parts"]) for name in names}
            elif words:
                host, way = words.pop("host"), words.pop("way")
                self.wires[host][way] = Wire(**words)
            self.control.sendall(json.dumps(self.count).encode() + b"\n")

    def run(self):
        selector = selectors.DefaultSelector()
        selector.register(self.control, selectors.EVENT_READ, None)
        for name, fd in self.taps.items():
            os.set_blocking(fd, False)
            selector.register(fd, selectors.EVENT_READ, name)
        while True:
            wait = max(0, self.held[0][0] - time.monotonic()) if self.held else None
            for key, _ in selector.select(wait):
                if key.data is None:
                    self.order()
                else:
                    self.take(key.data)
            while self.held and self.held[0][0] <= time.monotonic():
                _, _, then, frame = heapq.heappop(self.held)
                then(frame)


Switch(socket.socket(fileno=int(sys.argv[1])), {n: int(fd) for n, fd in (a.split("=") for a in sys.argv[2:])}).run()
