"""A forecast of whether a run's messages about public samples stay within its limits.

Texts are assumed to be as long as the gold ones, or as their answers if there are no rationales. Tables are counted
before compression, exactly except for the texts.
"""

import math
from collections.abc import Iterable, Sequence

from lada.codecs.base import Codecs
from lada.core.errors import InputError
from lada.core.limits import Limits
from lada.core.plural import counted
from lada.core.terms import Sample
from lada.rounds.base import Step

SPARE = 1.25
"""Margin of the advised limit over the expected size."""
MOST_AT_ONCE = 2**31 - 1
"""Maximum bytes of a message: its length is written in 31 bits."""


def check_sizes(limits: Limits, steps: Iterable[Step], public: Sequence[Sample], k: int, codecs: Codecs) -> None:
    """Raise InputError if the messages of `steps` about `public` samples, with `k` tokens per position, exceed a limit.

    The message names the key and a sufficient value.
    """
    sent = dict.fromkeys((step.side, step.sends) for step in steps)
    for side, kinds in sent:
        sizes = {kind: codecs[kind].size(public, k) for kind in sorted({*kinds})}
        for kind, size in sizes.items():
            _check("table_bytes", limits.table_bytes, size.table, f"{kind} before compression")
        message = sum(size.message for size in sizes.values())
        if side == "client":
            _check("reply_bytes", limits.reply_bytes, message, "a client's reply")
            continue
        _check("max_message_bytes", limits.max_message_bytes, message, "a message of the server's")
        if message > MOST_AT_ONCE:
            raise InputError(
                f"task: {counted(len(public), 'public sample')} make a message of about {message:,} bytes, but no "
                f"message can exceed {MOST_AT_ONCE:,}; use fewer samples, or a lower objective.options.k"
            )


def _check(key: str, limit: int, size: int, what: str) -> None:
    if size > limit:
        enough = math.ceil(SPARE * size / 2**20) * 2**20
        raise InputError(
            f"limits.{key}: {what} will take about {counted(size, 'byte')}, but the limit is {limit}; expected about "
            f"{enough}, or fewer public samples"
        )
