"""The alignment of FedMKT and FuseLLM: time warping over two token sequences, with byte edit distance as the cost."""

from collections.abc import Iterator, Sequence

import numpy as np
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from lada.alignment.spans import Spans
from lada.core.errors import InputError
from lada.core.plural import counted

Tokens = Sequence[Sequence[bytes]]
"""The bytes of each token, one sequence per text."""

_CELLS = 2**24
"""The most cells of a batch: of all its programmes (1 byte each) and of its table of distances (4 bytes each)."""
_FAR = np.int32(2**30)
_DIAGONAL, _UP, _LEFT = 0, 1, 2


def align_mined(source_tokens: Tokens, target_tokens: Tokens) -> Spans:
    """Group the tokens of two tokenizations along the cheapest warping path of each text.

    The path starts at both first tokens and ends at both last; a step goes to the next token of both sides (diagonal),
    of the source (up) or of the target (left), and each pair of tokens on it costs the Levenshtein distance of their
    bytes. If steps tie, the path, read from its end, prefers the diagonal, then up. Tokens that the path connects form
    one span, so every token of a text belongs to one unless the other side has none.

    FuseLLM (arXiv 2401.10491, section 3.2) as used by FedMKT (arXiv 2406.02224); distances over bytes instead of
    marked-up token strings are our reading. Takes time and 1 byte of memory per pair of a source and a target token.

    Raises InputError if the sides differ in their number of texts.
    """
    if len(source_tokens) != len(target_tokens):
        raise InputError(
            f"tokens: {counted(len(source_tokens), 'source text')}, but "
            f"{counted(len(target_tokens), 'target text')}; "
            "expected the same texts on both sides"
        )
    row, source, target = [np.zeros(0, np.int32)], [np.zeros((0, 2), np.int32)], [np.zeros((0, 2), np.int32)]
    for rows in _batches(source_tokens, target_tokens):
        cuts = _cuts([source_tokens[r] for r in rows], [target_tokens[r] for r in rows])
        for parts, side, tokens in ((source, cuts[0], source_tokens), (target, cuts[1], target_tokens)):
            which, first = np.nonzero(side)
            past = np.append(first[1:], 0)
            closing = np.append(which[1:] != which[:-1], True)
            past[closing] = np.array([len(tokens[r]) for r in rows])
            parts.append(np.stack([first, past], axis=1).astype(np.int32))
        row.append(np.repeat(np.array(rows, dtype=np.int32), cuts[0].sum(axis=1)))
    return Spans(np.concatenate(row), np.concatenate(source), np.concatenate(target))


def _batches(source: Tokens, target: Tokens) -> Iterator[list[int]]:
    """Yield the numbers of texts with tokens on both sides, in order, as many at once as `_CELLS` allows."""
    rows: list[int] = []
    kinds: tuple[set[bytes], set[bytes]] = (set(), set())
    longest = (0, 0)
    for number, (left, right) in enumerate(zip(source, target, strict=True)):
        if not len(left) or not len(right):
            continue
        wider = (max(longest[0], len(left)), max(longest[1], len(right)))
        more = (kinds[0].union(left), kinds[1].union(right))
        cells = max((len(rows) + 1) * wider[0] * sum(wider), len(more[0]) * len(more[1]))
        if rows and cells > _CELLS:
            yield rows
            rows, wider, more = [], (len(left), len(right)), (set(left), set(right))
        rows, longest, kinds = [*rows, number], wider, more
    if rows:
        yield rows


def _cuts(source: Tokens, target: Tokens) -> tuple[np.ndarray, np.ndarray]:
    """Return where spans begin, bool [texts, longest] for each side; no text is empty."""
    (left, rows), (right, columns) = _numbered(source), _numbered(target)
    distances = cdist(rows, columns, scorer=Levenshtein.distance, dtype=np.int32)
    moves = _moves(left, right, distances)
    texts = np.arange(len(source))
    i = np.array([len(tokens) - 1 for tokens in source])
    j = np.array([len(tokens) - 1 for tokens in target])
    begins = np.zeros(left.shape, dtype=bool), np.zeros(right.shape, dtype=bool)
    while len(texts):
        move = moves[i + j, texts, i]
        cut = move == _DIAGONAL
        begins[0][texts[cut], i[cut]] = True
        begins[1][texts[cut], j[cut]] = True
        i, j = i - (move != _LEFT), j - (move != _UP)
        going = i >= 0  # the first pair of a text is entered diagonally, which advances both sides
        texts, i, j = texts[going], i[going], j[going]
    return begins


def _numbered(texts: Tokens) -> tuple[np.ndarray, list[bytes]]:
    """Return the tokens as numbers [texts, longest], 0 after the end, and the token of each number."""
    number = {token: index for index, token in enumerate(dict.fromkeys(token for text in texts for token in text))}
    table = np.zeros((len(texts), max(map(len, texts))), dtype=np.int64)
    for row, text in enumerate(texts):
        table[row, : len(text)] = [number[token] for token in text]
    return table, list(number)


def _moves(left: np.ndarray, right: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Return how the cheapest path enters each pair of tokens (i, j), uint8 [i + j, texts, i].

    Pairs of one anti-diagonal need only those of the two before it, so each is one step over all texts.
    """
    texts, n = left.shape
    m = right.shape[1]
    offset, right = left * distances.shape[1], right[:, ::-1]
    flat = distances.ravel()
    moves = np.zeros((n + m - 1, texts, n), dtype=np.uint8)
    # Costs along an anti-diagonal by i + 1; place 0 and places outside the table stay far.
    before, last = np.full((2, texts, n + 1), _FAR)
    before[:, 0] = 0
    for d in range(n + m - 1):
        low, high = max(0, d - m + 1), min(n, d + 1)
        diagonal, up, beside = before[:, low:high], last[:, low:high], last[:, low + 1 : high + 1]
        cheapest = np.minimum(np.minimum(diagonal, up), beside)
        entered = moves[d, :, low:high]
        entered[:] = np.where(diagonal == cheapest, _DIAGONAL, np.where(up == cheapest, _UP, _LEFT))
        cost = flat.take(offset[:, low:high] + right[:, m - 1 - d + low : m - 1 - d + high])
        current = np.full((texts, n + 1), _FAR)
        current[:, low + 1 : high + 1] = cheapest + cost
        before, last = last, current
    return moves
