"""A client with a valid key sends a message to another client as if it came from the server.

It goes to the handlers of Flower's real SuperLink, in one process, as `lada server` sets it up; should one get through,
the other client's real ClientApp must refuse it.
"""

import logging
import tempfile
from itertools import product
from pathlib import Path

import harness
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.common.constant import SUPERLINK_NODE_ID
from sealed import Sealed
from superlinks import Node, SuperLink

from lada.federation.messages import HELLO, SERVER, Code, Envelope, encode

PAYLOADS = {HELLO: {}, "grow": {"seed": b"lies"}}


def at_the_superlink() -> list[bool]:
    """Return whether a message for clinic was taken."""
    link = SuperLink(Path(tempfile.mkdtemp()))
    clinic, attacker = (Node(link, ec.generate_private_key(ec.SECP384R1())) for _ in range(2))
    reached = []
    for source, node, answers in product(
        (SUPERLINK_NODE_ID, clinic.id, attacker.id), (None, clinic.id), ("", "0" * 64)
    ):
        for phase, payload in PAYLOADS.items():
            content = encode(Envelope("r", phase, 1, SERVER), payload)
            status = attacker.push(content, source=source, target=clinic.id, answers=answers, node=node)
            reached.append(status not in (401, 403) or bool(link.waiting(clinic.id)) or clinic.pull()[1] != [])
    return reached


def at_the_client(folder: Path) -> list[bool]:
    """Return whether clinic did anything for a message that kitchen wrote, sealed with what kitchen has."""
    reached = []
    with Sealed(folder) as fed:
        for phase, payload in PAYLOADS.items():
            plain = Envelope("r", phase, 1, SERVER)
            own = fed.seals["kitchen"]
            for envelope in (plain, own.asking(plain, payload), own.answering(plain, payload, "")):
                reply, _ = fed.deliver("clinic", envelope, payload)
                reached.append(reply.code is not Code.MALFORMED or bool(fed.handled))
    return reached


def attack() -> harness.Count:
    """Try it at the SuperLink, and behind it."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        reached = [*at_the_superlink(), *at_the_client(Path(folder))]
    outcome = "The SuperLink answers 403 or 401, and a client ignores a message without the server's seal."
    return harness.Count(len(reached), sum(reached), outcome)


if __name__ == "__main__":
    harness.main(attack)
