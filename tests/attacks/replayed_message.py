"""An attacker between server and clients replaces a message with one that was sealed for another purpose.

Server's exchange, seals and the clients' ClientApp are the real ones, in one process: an old message comes under
another run, round or phase or at another client, the client's reply comes back to it, and an old reply or piece goes to
the server.
"""

import logging
import tempfile
from dataclasses import replace
from pathlib import Path

import harness
from flwr.app import Message
from sealed import Sealed

from lada.federation.messages import HELLO, SERVER, Code, Envelope, decode, encode
from lada.federation.pieces import FETCH, PIECE

OLD = {"seed": b"of the old message"}


def at_the_client(folder: Path) -> list[bool]:
    """Return whether a client did anything for an old message under another head, or for another client's."""
    reached = []
    with Sealed(folder) as fed:
        sealed = fed.binding.seal("clinic").asking(Envelope("r-1", "grow", 1, SERVER), OLD)
        reply, state = fed.deliver("clinic", sealed, OLD)
        kept = (folder / "clinic" / "state").read_bytes()
        assert (reply.code, fed.handled) == (None, [("clinic", "r-1")])
        tries = [
            *(("clinic", replace(sealed, run=run), OLD) for run in ("r-2", "r-1-1")),
            *(("clinic", replace(sealed, round=round), OLD) for round in (0, 2)),
            *(("clinic", replace(sealed, phase=phase), OLD) for phase in ("echo", HELLO, FETCH)),
            ("clinic", replace(sealed, sender="clinic"), OLD),
            ("clinic", sealed, {"seed": b"of another"}),
            ("clinic", sealed, {**OLD, "more": b""}),
            ("clinic", reply, state),
            ("clinic", replace(reply, sender=SERVER, seconds=None), state),
            ("kitchen", sealed, OLD),
        ]
        for name, envelope, payload in tries:
            got, _ = fed.deliver(name, envelope, payload)
            same = (folder / "clinic" / "state").read_bytes() == kept and not (folder / "kitchen" / "state").exists()
            reached.append(got.code is not Code.MALFORMED or len(fed.handled) != 1 or not same)
    return reached


def at_the_server(folder: Path) -> list[bool]:
    """Return whether the server took an old reply, of another round or client, or another piece, for what it asked.

    The attacker gives the old reply the head of the new one, and leaves its seal and content.
    """
    reached = []
    for number, (phase, victim, old) in enumerate(
        [
            ("echo", "clinic", "clinic"),
            ("echo", "clinic", "kitchen"),
            ("large", "clinic", "clinic"),
            ("large", "clinic", ""),
        ]
    ):
        with Sealed(folder / str(number)) as fed:
            exchange, kept = fed.exchange(timeout=60), []
            asked = {"size": (2 * PIECE + 3).to_bytes(8, "big")}

            def keep(name: str, message: Message, fed: Sealed = fed, kept: list[Message] = kept) -> Message:
                kept.append(fed.honest(name, message))
                return kept[-1]

            def again(name: str, message: Message, fed: Sealed = fed, kept: list[Message] = kept) -> Message:
                asked, _ = decode(message.content)
                if asked.phase == "large":
                    return fed.honest(name, message)
                for one in kept:
                    told, payload = decode(one.content)
                    if told.phase == asked.phase:
                        head = replace(told, round=asked.round, sender=name)
                        return Message(encode(head, payload), reply_to=message)
                return keep(name, message)  # the first piece, which then comes in the place of the second

            if old:
                fed.lies[old] = keep
                exchange.ask(phase, 1, {old: asked}).wait()
            fed.lies[victim] = again
            replies = exchange.ask(phase, 2, dict.fromkeys((victim, "ward"), asked)).wait()
            reached.append(list(replies) != ["ward"])
    return reached


def attack() -> harness.Count:
    """Try it in both directions."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder:
        reached = [*at_the_client(Path(folder) / "client"), *at_the_server(Path(folder) / "server")]
    outcome = "Client and server drop everything that is not sealed for this run, phase, round, receiver and question."
    return harness.Count(len(reached), sum(reached), outcome)


if __name__ == "__main__":
    harness.main(attack)
