"""Whether what a run will tell of its public samples lies within its limits, as far as that can be said before it.

Texts are taken to be as long as the gold ones; where these have no rationales, as their answers. Tables are counted
before compression, to the byte but for the texts.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from lada.codecs.elias_fano import row_size
from lada.core.errors import InputError
from lada.core.limits import Limits
from lada.core.plural import counted
from lada.core.terms import Sample
from lada.rounds.base import Step
from lada.rounds.knowledge import LIKELIHOODS, PATHS, SOFT

ROW = {PATHS: 29, LIKELIHOODS: 20, SOFT: 21}
"""Bytes of a table's row beside its texts and id: what is in its columns, and 4 for the place of each text."""
BYTES_PER_TOKEN = 4
"""Of a text: our assumption."""
SIZE = 150_000
"""Tokens of a vocabulary: our assumption."""
SCORE = 3
"""Bytes of a position's own token, offsets and greatest log-prob, compressed; each of its k log-probs has one."""
SPARE = 1.25
"""What is advised beyond what is expected."""
MOST_AT_ONCE = 2**31 - 1
"""Bytes that no message can exceed: the length of one is told in 31 bits."""


def check_sizes(limits: Limits, steps: Iterable[Step], public: Sequence[Sample], k: int) -> None:
    """Raise InputError where what the `steps` send of `public` samples, with `k` tokens a position, is beyond a limit.

    The message names the key and a value that would do.
    """
    told = [(step.side, frozenset(step.sends).intersection(ROW)) for step in steps]
    for fault in _faults(limits, dict.fromkeys(each for each in told if each[1]), public, k):
        raise InputError(fault)


def _faults(
    limits: Limits, told: Mapping[tuple[str, frozenset[str]], object], public: Sequence[Sample], k: int
) -> Iterator[str]:
    ids = sum(len(sample.id.encode()) for sample in public)
    answers = sum(len((sample.answer or "").encode()) for sample in public)
    texts = sum(len((sample.rationale or sample.answer or "").encode()) for sample in public)
    position = row_size(SIZE, k) + k + SCORE if k else 0
    scores = (texts // BYTES_PER_TOKEN + len(public)) * position
    for side, kinds in told:
        tables = {
            kind: ROW[kind] * len(public) + ids + (texts + answers if kind == PATHS else 0) for kind in sorted(kinds)
        }
        for kind, size in tables.items():
            yield from _fault("table_bytes", limits.table_bytes, size, f"{kind} before compression")
        message = sum(tables.values()) + (scores if SOFT in kinds else 0)
        if side == "server":
            yield from _fault("max_message_bytes", limits.max_message_bytes, message, "a message of the server's")
            if message > MOST_AT_ONCE:
                yield (
                    f"task: {counted(len(public), 'public sample')} make a message of about {message:,} bytes, and "
                    f"none can have more than {MOST_AT_ONCE:,}; use fewer samples, or a lower objective.options.k"
                )
        else:
            yield from _fault("reply_bytes", limits.reply_bytes, message, "a client's reply")


def _fault(key: str, limit: int, size: int, what: str) -> Iterator[str]:
    if size > limit:
        enough = math.ceil(SPARE * size / 2**20) * 2**20
        yield (
            f"limits.{key}: {what} will take about {counted(size, 'byte')}, and the limit is {limit}; expected "
            f"{enough} or so, or fewer public samples"
        )
