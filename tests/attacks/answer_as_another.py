"""A client with a valid key answers a hello and a phase in another client's name.

Roster, exchange, seals and ClientApp are the real ones, in one process; the first three attempts go to the handlers of
Flower's real SuperLink, as `lada server` sets it up. The attacker has its own key and knows all that is public.
"""

import logging
import tempfile
from pathlib import Path

import harness
from cryptography.hazmat.primitives.asymmetric import ec
from sealed import NAMES, Sealed, claiming
from superlinks import Node, SuperLink

from lada.core.errors import FederationError
from lada.federation.messages import SERVER, Envelope, encode

LIES = {"x": b"lies of the attacker"}


def at_the_superlink() -> list[bool]:
    """Return whether the attacker's replies to a message for clinic came through, by whom it says that they are."""
    link = SuperLink(Path(tempfile.mkdtemp()))
    clinic, attacker = (Node(link, ec.generate_private_key(ec.SECP384R1())) for _ in range(2))
    reply = encode(Envelope("r", "echo", 1, "clinic"), LIES)
    reached = []
    for source, node in ((clinic.id, attacker.id), (clinic.id, clinic.id), (attacker.id, attacker.id)):
        asked = link.ask(clinic.id, Envelope("r", "echo", 1, SERVER), {"x": b"question"})
        status = attacker.push(reply, source=source, answers=asked, node=node)
        refused = status in (401, 403) or source == attacker.id  # that one Flower drops, with status 200
        reached.append(not refused or link.replies(asked) is not None)
    return reached


def at_the_server(folder: Path) -> list[bool]:
    """Return whether kitchen got into clinic's place, was believed for it, or ended the run.

    In the last attempts Flower has mixed up the nodes, and kitchen gets what is for clinic.
    """
    reached = []
    for sealed in (True, False):
        with Sealed(folder / f"mixed-{sealed}") as fed:
            exchange = fed.exchange()
            fed.lies["clinic"] = claiming("clinic", fed.seals["kitchen"] if sealed else None, payload=LIES)
            replies = exchange.ask("echo", 1, {name: {"x": name.encode()} for name in NAMES}).wait()
            reached.append("clinic" in replies)
    for number, (away, lies_at_once, sealed) in enumerate(
        [(True, True, True), (False, True, True), (True, True, False), (False, False, True), (False, False, False)]
    ):
        with Sealed(folder / str(number)) as fed:
            fed.grid.away = frozenset({"clinic"} if away else ())
            lie = claiming("clinic", fed.seals["kitchen"] if sealed else None, payload=LIES)
            try:
                if lies_at_once:
                    fed.lies["kitchen"] = claiming("clinic", fed.seals["kitchen"] if sealed else None)
                exchange = fed.exchange()
                fed.lies["kitchen"] = lie
                replies = exchange.ask("echo", 1, {name: {"x": name.encode()} for name in NAMES}).wait()
            except FederationError:
                reached.append(True)
                continue
            told = {name: reply["x"] for name, reply in replies.items()}
            honest = {name: name.encode() for name in NAMES if name != "kitchen" and not (away and name == "clinic")}
            reached.append(told != honest or not fed.binding.dropped["kitchen"])
    return reached


def attack() -> harness.Count:
    """Try it on both sides of the grid."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        reached = [*at_the_superlink(), *at_the_server(Path(folder))]
    outcome = "Its replies are dropped and counted. The other client's name stays with that client's key."
    return harness.Count(len(reached), sum(reached), outcome)


if __name__ == "__main__":
    harness.main(attack)
