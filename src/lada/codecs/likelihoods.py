"""What one party thinks of texts that everybody has: a likelihood per sample id, as bytes.

Log-probs travel as float32, in which models compute them. A sum of them is then off by at most 2^-24 of itself, which
is 3 millionths of a nat at 50 nats. `rounded` gives a party the numbers that others get of it, so that nobody compares
what was rounded with what was not.
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
"""The columns of a likelihood; a type that has no sign keeps counts from being negative."""
LEAST = -1e4
"""The least log-prob of a token, nats. That of a token drawn blindly from 262 144 is -12.5; an API's word for one that
it does not name is -9999."""
MOST_TOKENS = 2**24
"""Most tokens of a text."""
CLOSE = 1e-6
"""By how much, relatively, a sum of log-probs may be off."""
ROW = 20
"""Bytes of a row beside its id: two floats, two counts, and 4 for the place of the id."""
EXPECTED = 12
"""Bytes of a likelihood, compressed."""


def to_columns(likelihoods: Sequence[Likelihood]) -> dict[str, list[Any]]:
    """Return FIELDS as columns, rounded. Raises CodecError for what no learner says (see `fault`)."""
    received = [rounded(likelihood) for likelihood in likelihoods]
    _check(received)
    return {field.name: [getattr(likelihood, field.name) for likelihood in received] for field in FIELDS}


def from_columns(columns: Mapping[str, Sequence[Any]]) -> list[Likelihood]:
    """Return the likelihoods of FIELDS as columns. Raises CodecError for what no learner says (see `fault`)."""
    likelihoods = [Likelihood(*row) for row in zip(*(columns[field.name] for field in FIELDS), strict=True)]
    _check(likelihoods)
    return likelihoods


def rounded(likelihood: Likelihood) -> Likelihood:
    """Return a likelihood as others are told it: its log-probs are the nearest numbers of float32."""
    total, minimum = c_float(likelihood.total).value, c_float(likelihood.minimum).value
    return Likelihood(total, minimum, likelihood.tokens, likelihood.size)


def _check(likelihoods: Sequence[Likelihood]) -> None:
    """Refuse what no learner says: it would win, or spoil, every comparison."""
    for likelihood in likelihoods:
        # What is not finite, and counts that are negative, the table refuses by the name of their columns.
        if math.isfinite(likelihood.total) and math.isfinite(likelihood.minimum) and (why := fault(likelihood)):
            raise CodecError(f"likelihoods: {why}")


def fault(likelihood: Likelihood) -> str | None:
    """Return why no learner can say this of a text; None where one can.

    Log-probs are finite, at most 0 and at least LEAST per token; the sum is at most the least of them, which is at most
    their mean; those of no tokens are 0.
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
    return "a sum of log-probs that does not go with the least of them" if off else None


def _slack(log_prob: float) -> float:
    return CLOSE * (1 - log_prob)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one party thinks in one round: likelihoods by sample id."""

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
    Raises CodecError, and nothing else, for anything that `encode` would not write.
    """
    columns, header = unpack(data, KIND, (ID, *FIELDS), known_ids=known_ids, limit=limit)
    party, round = signature(KIND, header)
    return Judgement(party, round, dict(zip(columns["id"], from_columns(columns), strict=True)))


@CODECS.register(KIND, tags=("feedback",))
class Likelihoods(Codec[Knowledge, Received]):
    """What a party thinks of the gold texts, which everybody has: a likelihood for each."""

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
    """Return the likelihoods alone of what a party knows."""
    received = {path.sample_id: path.likelihood for path in knowledge.paths}
    return Judgement(knowledge.party, knowledge.round, received)


def labelled(
    received: Judgement, texts: Mapping[str, tuple[str, str]], extract: Callable[[str], str | None]
) -> Knowledge:
    """Return likelihoods of gold `texts` (question and text by sample) as if each were a path of who judged it."""
    return Knowledge(
        received.party,
        received.round,
        tuple(
            Path(id, received.party, texts[id][1], extract(texts[id][1]), True, likelihood)
            for id, likelihood in received.likelihoods.items()
        ),
    )
