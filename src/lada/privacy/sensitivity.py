"""How sensitive each position of a scored text is, in 0..1, by the owner's own means.

A position is sensitive by the text's own token, or by the likeliest token in its place: a model that knows a secret may
name it where the text says something else. So `by_spans` reads both texts.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from lada.core.terms import SparseLogProbs, TokenScores
from lada.privacy.options import PATIENCE, PiiKind

WORD = re.compile(r"\w+")
Spans = Callable[[str], Iterable[tuple[int, int, float]]]
"""Returns start, end (characters) and score (0..1) of the sensitive places of a text."""


def by_spans(text: str, scores: TokenScores, words: Sequence[bytes], spans: Spans) -> np.ndarray:
    """Return the greatest score of a place that each of n positions is part of, float64 [n].

    `words` are the bytes of the vocabulary's tokens. A text on which a pattern takes too long is sensitive throughout.
    """
    likeliest = scores.top.ids[np.arange(len(scores.tokens)), scores.top.log_probs.argmax(1)]
    tokens = [words[token] for token in likeliest.tolist()]
    ends = np.cumsum([0, *map(len, tokens)])
    spelled = b"".join(tokens).decode("utf-8", "surrogateescape")
    found = np.zeros(len(scores.tokens))
    for written, offsets in ((text, scores.offsets), (spelled, np.stack([ends[:-1], ends[1:]], 1))):
        at = np.cumsum([0, *(len(each.encode("utf-8", "surrogateescape")) for each in written)])
        try:
            for start, end, score in spans(written):
                inside = (offsets[:, 0] < at[end]) & (offsets[:, 1] > at[start])
                found[inside] = np.maximum(found[inside], score)
        except TimeoutError:
            return np.ones(len(scores.tokens))
    return found


def matches(pii: Iterable[PiiKind], patterns: Iterable[str]) -> Spans:
    """Return a function that finds personal data of these kinds and matches of patterns, each with score 1.

    It raises TimeoutError if a pattern takes longer than PATIENCE.
    """

    def spans(text: str) -> Iterator[tuple[int, int, float]]:
        import regex  # here, as in lada.privacy.options

        from lada.privacy.pii import found

        for kind in pii:
            yield from ((start, end, 1.0) for start, end in found(kind, text, PATIENCE))
        for pattern in patterns:
            yield from ((*match.span(), 1.0) for match in regex.finditer(pattern, text, timeout=PATIENCE))

    return spans


def rare_words(private: Iterable[str], known: Iterable[str], length: int) -> Spans:
    """Return a function that finds `length` words in a row that private texts have and no `known` text has.

    The score is 1/c for words that c of the private texts have.
    """
    common = {words for text in known for words, _, _ in _runs(text, length)}
    having = Counter(words for text in private for words in {words for words, _, _ in _runs(text, length)} - common)
    return lambda text: ((start, end, 1 / having[w]) for w, start, end in _runs(text, length) if w in having)


def _runs(text: str, length: int) -> Iterator[tuple[tuple[str, ...], int, int]]:
    """Yield each run of `length` words, without case, with its start and end in characters."""
    found = [(match.group().casefold(), *match.span()) for match in WORD.finditer(text)]
    for first in range(len(found) - length + 1):
        run = found[first : first + length]
        yield tuple(word for word, _, _ in run), run[0][1], run[-1][2]


def loss_gap(now: SparseLogProbs, before: SparseLogProbs, full: float) -> np.ndarray:
    """Return the gap between two models' losses at each of n positions as a share of `full` nats, at most 1.

    The gap is expected under the present model: Σ p (log p - log q) over its k tokens. A token that the earlier model
    does not name counts as much as the least that it names, which is an upper bound of q.
    """
    gaps = np.zeros(len(now.ids))
    for row, (ids, log_p) in enumerate(zip(now.ids, now.log_probs.astype(np.float64), strict=True)):
        named = dict(zip(before.ids[row].tolist(), before.log_probs[row].tolist(), strict=True))
        least = min(named.values())
        log_q = np.array([named.get(token, least) for token in ids.tolist()])
        gaps[row] = np.exp(log_p) @ (log_p - log_q)
    return np.clip(gaps / full, 0.0, 1.0)


def dealt(sensitivity: Mapping[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the sensitivities [n] of several texts, each moved to a random position of any of the texts."""
    names = sorted(sensitivity)
    every = np.concatenate([np.zeros(0), *(sensitivity[name] for name in names)])
    cuts = np.cumsum([len(sensitivity[name]) for name in names])
    return dict(zip(names, np.split(rng.permutation(every), cuts)[:-1], strict=True))  # the last cut is the end
