"""How many bytes of knowledge a run will send: kinds and counts from the host, sizes from the codecs.

Messages of numbers (`metrics`, `times`) and of keys, a few kilobytes each, are left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lada.codecs.elias_fano import row_size
from lada.core.results import Traffic
from lada.rounds.averaging import ADAPTER
from lada.rounds.base import Step
from lada.rounds.knowledge import LIKELIHOODS, PATHS, SOFT, VOCABULARY
from lada.rounds.pooling import SAMPLES
from lada.rounds.secure import MASKED

PATH_BYTES = 1.0
"""Of a path, per token: results/alignment, on the built-in corpus."""
LIKELIHOOD_BYTES = 12
"""Of a likelihood, which is two floats of 4 bytes and two counts before compression."""
SCORE_BYTES = 3
"""Of a position's own token, offsets and greatest log-prob, compressed; and a byte for each of its k log-probs."""
TOKEN_BYTES = 4
"""Of a token of a vocabulary, compressed."""
ADAPTER_BYTES = 4
"""Of a number of an adapter, which is a float32."""
MASKED_BYTES = 8
"""Of a number of a masked adapter."""


@dataclass(frozen=True, slots=True)
class Sender:
    """What a party's messages depend on: `mean` tokens of a path, trainable numbers of its `adapter`; 0: unknown.

    `samples` are the bytes of the private samples that it tells, where the host has it tell them.
    """

    name: str
    mean: float
    vocabulary: int
    adapter: int
    samples: int = 0


def sizes(sender: Sender, texts: int, k: int) -> Mapping[str, int]:
    """Return the bytes of one message part of each kind of knowledge of `texts` samples, with `k` tokens a position."""
    tokens = texts * sender.mean
    named = min(k, sender.vocabulary)
    return {
        PATHS: round(PATH_BYTES * tokens),
        LIKELIHOODS: LIKELIHOOD_BYTES * texts,
        SOFT: round(tokens * (row_size(sender.vocabulary, named) + named + SCORE_BYTES)) if named else 0,
        VOCABULARY: TOKEN_BYTES * sender.vocabulary,
    }


def expect(
    round: int, steps: Sequence[Step], server: Sender, clients: Sequence[Sender], texts: int, k: int
) -> tuple[Traffic, ...]:
    """Return the expected traffic of one round, sorted as the ledger's is."""
    rows = []
    for client in clients:
        for step in steps:
            sender, receiver = (client, server) if step.side == "client" else (server, client)
            told = {
                **sizes(sender, texts, k),
                ADAPTER: ADAPTER_BYTES * client.adapter,  # the average is as large
                MASKED: MASKED_BYTES * client.adapter,
                SAMPLES: sender.samples,
            }
            rows += [
                Traffic(
                    round=round, sender=sender.name, receiver=receiver.name, kind=kind, messages=1, bytes=told[kind]
                )
                for kind in step.sends
            ]
    return tuple(sorted(rows, key=lambda row: (row.sender, row.receiver, row.kind)))
