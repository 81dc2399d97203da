"""BLEU: how much of the wording of texts other texts share (Papineni et al. 2002, ACL P02-1040).

It measures two things. *Rationale fidelity* is the BLEU of a student's paths against its teacher's: does the student
reason as its teacher does, or does it only reach the same answers (arXiv 2505.15442)? *Self-BLEU* is the BLEU of each
text against all others of one party: how alike are they (arXiv 1802.01886)?
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

ORDERS = (1, 2, 3, 4)
"""Lengths of the n-grams. A length that no text has is left out, as for labels of one word."""
Grams = Counter[tuple[str, ...]]


def bleu(texts: Sequence[str], references: Sequence[str]) -> float | None:
    """Return the corpus BLEU of texts, each with one reference, in percent; None if all texts are empty.

    BLEU = exp(min(0, 1 - r / c)) · (Π p_n)^(1 / N): p_n is the share of n-grams that the references have too, each
    counted at most as often as there; c and r are the numbers of words of texts and references. Words are what white
    space divides. There is no smoothing, so a length without any match gives 0. Raises ValueError if the numbers of
    texts and references differ.
    """
    matched, total, lengths = np.zeros(len(ORDERS)), np.zeros(len(ORDERS)), np.zeros(2)
    for text, reference in zip(texts, references, strict=True):
        words, wanted = text.split(), reference.split()
        lengths += len(words), len(wanted)
        for row, n in enumerate(ORDERS):
            mine = _grams(words, n)
            matched[row] += (mine & _grams(wanted, n)).total()
            total[row] += mine.total()
    return _score(matched, total, *lengths)


def self_bleu(texts: Iterable[str]) -> float | None:
    """Return the mean BLEU of each text against all others as its references, in percent; high if texts are alike.

    An n-gram counts at most as often as in the other text that has it most often. The length of the references is that
    of the nearest one, the shorter of two. Empty texts are left out; None for fewer than two others.
    """
    words = [split for text in texts if (split := text.split())]
    if len(words) < 2:
        return None
    grams = [[_grams(each, n) for n in ORDERS] for each in words]
    most = [_two_largest([each[row] for each in grams]) for row in range(len(ORDERS))]
    lengths = np.array([len(each) for each in words])
    scores = []
    for place, (mine, length) in enumerate(zip(grams, lengths.tolist(), strict=True)):
        matched = [
            sum(min(count, _most_of_others(most[row][gram], count)) for gram, count in each.items())
            for row, each in enumerate(mine)
        ]
        others = np.delete(lengths, place)
        nearest = min(others.tolist(), key=lambda other: (abs(other - length), other))
        score = _score(np.array(matched, float), np.array([each.total() for each in mine], float), length, nearest)
        scores.append(score or 0.0)
    return float(np.mean(scores))


def _grams(words: Sequence[str], n: int) -> Grams:
    return Counter(zip(*(words[start:] for start in range(n)), strict=False))


def _two_largest(texts: Sequence[Grams]) -> dict[tuple[str, ...], tuple[int, int]]:
    """Return for each n-gram how often the text with the most of it has it, and the text with the second most."""
    found: dict[tuple[str, ...], tuple[int, int]] = {}
    for grams in texts:
        for gram, count in grams.items():
            first, second = found.get(gram, (0, 0))
            found[gram] = (max(first, count), max(second, min(first, count)))
    return found


def _most_of_others(largest: tuple[int, int], own: int) -> int:
    """Return the largest count of an n-gram in the other texts, where one text has it `own` times."""
    return largest[1] if own == largest[0] else largest[0]


def _score(matched: np.ndarray, total: np.ndarray, length: float, reference: float) -> float | None:
    if not total.any():
        return None
    known = total > 0
    if not matched[known].all():
        return 0.0
    brevity = min(0.0, 1 - reference / length)
    return float(100 * np.exp(brevity + np.log(matched[known] / total[known]).mean()))
