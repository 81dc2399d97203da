"""One party's likelihoods of texts that all parties have, by sample id, as bytes.

Log-probs are sent as float32, in which models compute them. The relative error of a sum is then at most 2^-24, which is
3 millionths of a nat at 50 nats. `rounded` gives a party the same rounded numbers that others receive, so rounded and
unrounded numbers are never compared.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from ctypes import c_float
from dataclasses import dataclass
from typing import Any

from lada.codecs.base import CODECS, Codec, Outlook, Reading, Size, Text, Words
from lada.codecs.received import Received, check_signature, check_size
from lada.codecs.table import LIMIT, Field, count, pack, signature, signed, unpack
from lada.core.errors import CodecError
from lada.core.needs import State
from lada.core.terms import Knowledge, Likelihood, Path, Sample

KIND = "likelihoods"
ID = Field("id", "string", nullable=False)
FIELDS = (
    Field("total", "float32", nullable=False),
    Field("minimum", "float32", nullable=False),
    Field("tokens", "uint32", nullable=False),
    Field("size", "uint32", nullable=False),
)
"""The columns of a likelihood; unsigned types keep counts from being negative."""
LEAST = -1e4
"""The minimum log-prob of a token, nats. For a uniform choice among 262 144 tokens it is -12.5; an API reports -9999
for a token that it does not list."""
MOST_TOKENS = 2**24
"""The most tokens of a text."""
CLOSE = 1e-6
"""The largest relative error of a sum of log-probs."""
ROW = 20
"""Bytes of a row without its id: two floats, two counts, and 4 for the place of the id."""
EXPECTED = 12
"""Bytes of a likelihood, compressed."""


def to_columns(likelihoods: Sequence[Likelihood]) -> dict[str, list[Any]]:
    """Return FIELDS as columns, rounded. Raises CodecError for values that no learner gives (see `fault`)."""
    received = [rounded(likelihood) for likelihood in likelihoods]
    _check(received)
    return {field.name: [getattr(likelihood, field.name) for likelihood in received] for field in FIELDS}


def from_columns(columns: Mapping[str, Sequence[Any]]) -> list[Likelihood]:
    """Return the likelihoods from FIELDS as columns. Raises CodecError for values that no learner gives (see
    `fault`)."""
    likelihoods = [Likelihood(*row) for row in zip(*(columns[field.name] for field in FIELDS), strict=True)]
    _check(likelihoods)
    return likelihoods


def rounded(likelihood: Likelihood) -> Likelihood:
    """Return a likelihood as others receive it: its log-probs are rounded to float32."""
    total, minimum = c_float(likelihood.total).value, c_float(likelihood.minimum).value
    return Likelihood(total, minimum, likelihood.tokens, likelihood.size)


def _check(likelihoods: Sequence[Likelihood]) -> None:
    """Refuse values that no learner gives: they would win, or spoil, every comparison."""
    for likelihood in likelihoods:
        # The table itself refuses numbers that are not finite and negative counts, and names their columns.
        if math.isfinite(likelihood.total) and math.isfinite(likelihood.minimum) and (why := fault(likelihood)):
            raise CodecError(f"likelihoods: {why}")


def fault(likelihood: Likelihood) -> str | None:
    """Return why no learner can give this likelihood; None if one can.

    Log-probs are finite, at most 0 and at least LEAST per token. The sum is at most the minimum, which is at most the
    mean. Without tokens, all are 0.
    """
    total, minimum, tokens = likelihood.total, likelihood.minimum, likelihood.tokens
    if not (math.isfinite(total) and math.isfinite(minimum)):
        return "a log-prob that is not finite"
    if total > 0 or minimum > 0:
        return "a log-prob above zero"
    if minimum < LEAST:
        return f"a log-prob below {LEAST:g} nats"
    if tokens > MOST_TOKENS:
        return f"more than {MOST_TOKENS} tokens"
    if tokens == 0 and (total < 0 or minimum < 0):
        return "log-probs of no tokens"
    mean = likelihood.mean
    off = total - minimum > _slack(minimum) or minimum - mean > _slack(mean)
    return "a sum of log-probs that is inconsistent with their minimum" if off else None


def _slack(log_prob: float) -> float:
    return CLOSE * (1 - log_prob)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One party's likelihoods of one round, by sample id."""

    party: str
    round: int
    likelihoods: Mapping[str, Likelihood]


def encode(judgement: Judgement) -> bytes:
    """Return a party's likelihoods as bytes. Raises CodecError for values that `decode` would refuse."""
    columns = {"id": list(judgement.likelihoods), **to_columns(list(judgement.likelihoods.values()))}
    return pack(KIND, (ID, *FIELDS), columns, signed(judgement.party, judgement.round))


def decode(data: bytes, *, known_ids: Collection[str] | None, limit: int | None = LIMIT) -> Judgement:
    """Return a party's likelihoods, in the order of `encode`.

    `known_ids` are the only ids allowed (None: any); `limit` is the most bytes before compression (None: any number).
    Raises only CodecError, for anything that `encode` would not write.
    """
    columns, header = unpack(data, KIND, (ID, *FIELDS), known_ids=known_ids, limit=limit)
    party, round = signature(KIND, header)
    return Judgement(party, round, dict(zip(columns["id"], from_columns(columns), strict=True)))


@CODECS.register(KIND, tags=("feedback",))
class Likelihoods(Codec[Knowledge, Received]):
    """A party's likelihood of each gold text, which all parties have."""

    kind = KIND

    def encode(self, state: State, value: Knowledge) -> tuple[State, bytes]:
        """See Codec.encode."""
        return state, encode(judgement(value))

    def decode(self, data: bytes, reading: Reading) -> Received:
        """See Codec.decode. The texts are the receiver's own gold ones."""
        texts = reading.receiver.gold()
        received = decode(data, known_ids=texts.keys(), limit=reading.receiver.limits.table_bytes)
        for id, likelihood in received.likelihoods.items():
            check_size(reading.receiver, likelihood, texts[id][1])
        return Received(labelled(received, texts, reading.receiver.task.extract))

    def check(self, received: Received, reading: Reading) -> None:
        """See Codec.check."""
        check_signature("labels", received.knowledge, reading)

    def describe(self, data: bytes) -> int:
        """See Codec.describe."""
        return count(data, KIND)

    def expected_bytes(self, outlook: Outlook) -> int:
        """See Codec.expected_bytes."""
        return EXPECTED * outlook.samples

    def size(self, public: Sequence[Sample], k: int) -> Size:
        """See Codec.size."""
        table = sum(ROW + len(sample.id.encode()) for sample in public)
        return Size(table, table)

    def texts(self, data: bytes, words: Words) -> Iterator[Text]:
        """See Codec.texts."""
        yield from (("an id", id, False) for id in decode(data, known_ids=None).likelihoods)


def judgement(knowledge: Knowledge) -> Judgement:
    """Return only the likelihoods of a party's knowledge."""
    received = {path.sample_id: path.likelihood for path in knowledge.paths}
    return Judgement(knowledge.party, knowledge.round, received)


def labelled(
    received: Judgement, texts: Mapping[str, tuple[str, str]], extract: Callable[[str], str | None]
) -> Knowledge:
    """Return likelihoods of gold `texts` (question and text by sample) as paths of the party that judged them."""
    return Knowledge(
        received.party,
        received.round,
        tuple(
            Path(id, received.party, texts[id][1], extract(texts[id][1]), True, likelihood)
            for id, likelihood in received.likelihoods.items()
        ),
    )
