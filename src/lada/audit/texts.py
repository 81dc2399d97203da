"""A message part as the texts in it, read by its kind: what is searched for passages of private samples."""

import re
from collections.abc import Callable, Iterator, Sequence

from lada.audit.layers import spelled, strings
from lada.codecs import adapters, likelihoods, metrics, paths, samples, vocabulary
from lada.core.errors import CodecError
from lada.core.results import PartyReport
from lada.rounds.averaging import ADAPTER
from lada.rounds.knowledge import LIKELIHOODS, PATHS, SOFT, VOCABULARY
from lada.rounds.pooling import SAMPLES
from lada.rounds.reports import METRICS, TIMES

Text = tuple[str, str, bool]
"""How a text was come by, the text, and whether a model wrote it, so that a single word of it may tell something."""
DIGEST = re.compile("[0-9a-f]{64}")
"""A SHA-256: its digits and letters would be words."""
Words = Sequence[bytes] | None
"""The bytes of the sender's tokens, by id; None where it told no vocabulary."""


def texts(kind: str | None, data: bytes, words: Words) -> list[Text]:
    """Return the texts in a part of a kind; None: of whichever kind it can be read as.

    Raises CodecError for a part that cannot be read, such as token scores without the vocabulary of their ids.
    """
    for each in READERS if kind is None else [kind]:
        try:
            if each not in READERS:
                raise CodecError("a kind of which nothing is known")
            return list(READERS[each](data, words))
        except CodecError:
            if kind is not None:
                raise
    raise CodecError("a part of no known kind")


def _paths(data: bytes, _: Words) -> Iterator[Text]:
    for path in paths.decode(data, known_ids=None).paths:
        yield "a path", path.text, True
        yield "an answer", path.answer or "", True


def _likelihoods(data: bytes, _: Words) -> Iterator[Text]:
    yield from (("an id", id, False) for id in likelihoods.decode(data, known_ids=None).likelihoods)


def _soft_targets(data: bytes, words: Words) -> Iterator[Text]:
    if words is None:
        raise CodecError("token scores without the vocabulary of their ids")
    yield from (("tokens", text.decode("utf-8", "replace"), True) for text in spelled(data, words))


def _vocabulary(data: bytes, _: Words) -> Iterator[Text]:
    yield from (("a token", token.decode("utf-8", "replace"), False) for token in vocabulary.decode(data)[0])


def _metrics(data: bytes, _: Words) -> Iterator[Text]:
    metrics.decode_records(data, PartyReport)
    yield from (("a report", text, False) for text in strings(data) if not DIGEST.fullmatch(text))


def _times(data: bytes, _: Words) -> Iterator[Text]:
    if len(data) % 24:
        raise CodecError("times that are no numbers")
    yield from ()


def _adapter(data: bytes, _: Words) -> Iterator[Text]:
    yield from (("a name", name, False) for name in adapters.decode(data, limit=len(data))[0])


def _samples(data: bytes, _: Words) -> Iterator[Text]:
    for sample in samples.decode(data)[2]:
        yield from (("a sample", text, True) for text in (sample.question, sample.rationale, sample.answer) if text)


READERS: dict[str, Callable[[bytes, Words], Iterator[Text]]] = {
    PATHS: _paths,
    LIKELIHOODS: _likelihoods,
    SOFT: _soft_targets,
    VOCABULARY: _vocabulary,
    METRICS: _metrics,
    ADAPTER: _adapter,
    SAMPLES: _samples,
    TIMES: _times,
}
"""In the order in which a part of unknown kind is read: times have no form of their own."""
