"""Estimates the bytes of knowledge that a run will send: kinds and counts from the host, sizes from the codecs.

Messages of numbers (`metrics`, `times`) and of keys, a few kilobytes each, are not included.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lada.codecs.base import Codecs, Outlook
from lada.core.results import Traffic
from lada.core.terms import Sample
from lada.rounds.base import Step


@dataclass(frozen=True, slots=True)
class Sender:
    """The quantities that a party's messages depend on: `mean` tokens of a path, trainable numbers of its `adapter`; 0:
    unknown.

    `private` are the private samples that it sends, if the host requires that.
    """

    name: str
    mean: float
    vocabulary: int
    adapter: int
    private: tuple[Sample, ...] = ()


class Forecast:
    """The bytes of each part that a party sends in a round; each codec is asked once."""

    def __init__(self, codecs: Codecs, texts: int, k: int) -> None:
        """`texts` is the number of public samples; objectives ask for `k` tokens per position."""
        self._codecs, self._texts, self._k = codecs, texts, k
        self._known: dict[tuple[str, str, str, int, int], int] = {}

    def size(
        self, kind: str, sender: Sender, numbers: int, *, to: str = "", client: bool = False, round: int = 0
    ) -> int:
        """Return the bytes of a part of a kind; `numbers` are those of the adapter that goes up or comes down.

        `to` is the receiver. `client` says whether the sender is a client.
        """
        key = kind, sender.name, to, numbers, round
        if key not in self._known:
            outlook = Outlook(
                sender=sender.name,
                receiver=to,
                samples=self._texts,
                mean=sender.mean,
                k=self._k,
                vocabulary=sender.vocabulary,
                numbers=numbers,
                private=sender.private,
                client=client,
                round=round,
            )
            self._known[key] = self._codecs[kind].expected_bytes(outlook)
        return self._known[key]

    def expect(
        self, round: int, steps: Sequence[Step], server: Sender, clients: Sequence[Sender]
    ) -> tuple[Traffic, ...]:
        """Return the expected traffic of one round, sorted like the ledger."""
        rows = []
        for client in clients:
            for step in steps:
                sender, receiver = (client, server) if step.side == "client" else (server, client)
                about = {"to": receiver.name, "client": step.side == "client", "round": round}
                rows += [
                    Traffic(
                        round=round,
                        sender=sender.name,
                        receiver=receiver.name,
                        kind=kind,
                        messages=1,
                        bytes=self.size(kind, sender, client.adapter, **about),
                    )
                    for kind in step.sends
                ]
        return tuple(sorted(rows, key=lambda row: (row.sender, row.receiver, row.kind)))
