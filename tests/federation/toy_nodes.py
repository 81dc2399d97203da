"""Nodes without models, for the tests: each phase shows one thing that a real client may do."""

import hashlib
import os
from pathlib import Path

CANARY = "the-patient-is-Ms-Żółć"


class ToyNode:
    def __init__(self, context, emit):
        self.name = context.node_config["name"]
        self.folder = Path(context.node_config["folder"])
        self.config = context.node_config["config"]
        self.emit = emit

    def handle(self, phase, round, payload):
        return getattr(self, phase)(round, payload)

    def echo(self, round, payload):
        return payload

    def grow(self, round, payload):
        """Hash what it was told onto what it keeps on disk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        state = self.folder / "state"
        before = state.read_bytes() if state.exists() else self.config.encode()
        state.write_bytes(hashlib.sha512(before + payload["seed"]).digest())
        self.emit({"kind": "grown", "party": self.name, "round": round})
        return {"state": state.read_bytes(), "name": self.name.encode()}

    def large(self, round, payload):
        """Keep a reply of the size it was told, for `fetch`, as a node with a checkpoint does."""
        size = int.from_bytes(payload["size"], "big")
        reply = {"large": (bytes(range(251)) * (size // 251 + 1))[:size], "small": b"x"}
        self.folder.mkdir(parents=True, exist_ok=True)
        for kind, data in reply.items():
            (self.folder / kind).write_bytes(data)
        return reply

    def fetch(self, round, what):
        return (self.folder / what.kind).read_bytes()[what.start : what.start + what.length]

    def fail(self, round, payload):
        raise RuntimeError(f"{CANARY} in {self.folder}")

    def lie(self, round, payload):
        return {"number": 3}

    def die(self, round, payload):
        os.kill(os.getpid(), 9)


def open_node(context, run, emit):
    return ToyNode(context, emit)
