"""PCoreSet (arXiv 2506.00910): samples that cover the space of what the student predicts.

Farthest-first search for a core set, over probabilities instead of features. With q(x) the student's distribution for a
sample and S the samples chosen so far, it adds, as often as the budget allows,

    argmax over x of  min over s in S of  ||q(x) - q(s)||₂

Source: the authors' code (erjui/PCoreSet, strategies.py, read). There q mixes the probabilities of two heads of a
classifier, and S begins with the student's predictions for the labelled images.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.memory import keys_of
from lada.allocators.selection import Drawn, allocate, from_teacher
from lada.core.needs import needs
from lada.core.registry import Pluggable
from lada.core.terms import Allocation, Path, TokenScores, Verb

CHOSEN = "chosen"
"""In the state: the keys of the samples chosen so far, int64 [m], ascending."""


class PCoreSetOptions(Drawn):
    """Options of PCoreSet. Without `budget`, half of the candidates are chosen."""

    tokens: int = Field(default=64, ge=1, le=4096)
    """Number of likeliest tokens of a prediction that are distinguished. All others count as one. If the vocabulary is
    smaller, as with a classifier, all of its tokens are distinguished."""


@ALLOCATORS.register(
    "pcoreset",
    options=PCoreSetOptions,
    paper="arXiv 2506.00910",
    status="our reading",
    level="code read",
    needs=needs({Verb.ANSWER}, {Verb.LOG_PROBS}),
    tags=("labels", "feature"),
)
class PCoreSet(Pluggable):
    """The teacher's paths for samples whose predictions by the student lie furthest from those of chosen samples.

    A prediction is the student's distribution over the first token of the teacher's answer, given the path up to there
    (our reading: a vocabulary is too wide to cover a whole path). For a classifier, it is the distribution over the
    labels. The samples of earlier rounds count as chosen, with the student's present predictions. They are chosen again
    only once too few others are left. Before the first choice, the mean prediction stands for them.
    """

    def __init__(self, options: PCoreSetOptions) -> None:
        self.options = options

    def apply(self, state: State, candidates: Candidates) -> tuple[State, Allocation, dict[str, float]]:
        """See Allocator.apply. A sample's score is its distance from the samples chosen before it."""
        keys, count = keys_of(candidates.samples), len(candidates.samples)
        predicted, placed = predictions(candidates.teacher_paths, list(candidates.look(self.options.tokens)))
        allowed = placed & self.options.may_take(candidates.teacher_paths)
        earlier = state.get(CHOSEN, np.zeros(0, np.int64))
        budget = min(self.options.draws(count), int(allowed.sum()))
        restarts = int((allowed & ~np.isin(keys, earlier)).sum()) < budget
        before = placed & np.isin(keys, earlier) & (not restarts)
        order = np.argsort(keys)  # so that ties do not depend on the order of the samples
        chosen, distances = farthest_first(predicted, order[(allowed & ~before)[order]], before, budget)
        reasons = {i: f"the student's prediction is {distances[i]:.2f} from those chosen before" for i in chosen}
        scores = np.where(placed, distances, 0.0)
        rest = np.setdiff1d(np.flatnonzero(allowed), chosen)
        known = keys[chosen] if restarts else np.union1d(earlier, keys[chosen])
        return (
            {CHOSEN: np.sort(known)},
            allocate(candidates, chosen, from_teacher(chosen), scores, reasons),
            {
                "radius": float(distances[rest].max(initial=0.0)),
                "earlier": float(before.sum()),
                "restarted": float(restarts and len(earlier) > 0),
                "without_prediction": float(count - placed.sum()),
            },
        )


def predictions(paths: Sequence[Path], looks: Sequence[TokenScores | None]) -> tuple[Any, np.ndarray]:
    """Return the student's predictions, sparse [n, tokens named + 1], and which of them are known, bool [n].

    Rows are probabilities; the last column has those of all tokens that are not named. An unknown row is zero.
    """
    from scipy.sparse import csr_array  # here, since it takes long to import

    rows, ids, values, tails = [], [], [], np.zeros(len(paths))
    for row, (path, scores) in enumerate(zip(paths, looks, strict=True)):
        place = None if scores is None else answer_token(path, scores)
        if scores is None or place is None:
            continue
        likely = np.exp(scores.top.log_probs[place].astype(np.float64))
        named = likely > 0
        rows.append(np.full(named.sum(), row))
        ids.append(scores.top.ids[place][named])
        values.append(likely[named])
        tails[row] = max(0.0, 1.0 - likely.sum())
    if not rows:
        return csr_array((len(paths), 1)), np.zeros(len(paths), bool)
    known = np.array([each[0] for each in rows])
    names, columns = np.unique(np.concatenate(ids), return_inverse=True)
    at = np.concatenate([*rows, known]), np.concatenate([columns, np.full(len(known), len(names))])
    predicted = csr_array((np.concatenate([*values, tails[known]]), at), shape=(len(paths), len(names) + 1))
    return predicted, np.isin(np.arange(len(paths)), known)


def answer_token(path: Path, scores: TokenScores) -> int | None:
    """Return the place of the first token of a path's answer, or of its last word; None if the scores end before it."""
    text = path.text.rstrip()
    start = text.rfind(path.answer) if path.answer else -1
    if start < 0:
        start = max(text.rfind(" "), text.rfind("\n")) + 1
    place = int(np.searchsorted(scores.offsets[:, 1], len(text[:start].encode()), side="right"))
    return place if text and place < len(scores.tokens) else None


def farthest_first(
    predicted: Any, pool: Sequence[int] | np.ndarray, chosen: np.ndarray, budget: int
) -> tuple[list[int], np.ndarray]:
    """Return the rows picked from `pool`, in order, and each row's distance from those chosen before it, [n].

    `predicted` is sparse [n, width]; `chosen` [n] bool are the rows to begin with, or the mean of the pool if there are
    none. The picks' distances from other rows never increase. Ties go to the first of the pool.
    """
    pool = np.asarray(pool, np.int64)
    squares = np.asarray(predicted.multiply(predicted).sum(axis=1)).ravel()

    def from_point(point: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(squares + point @ point - 2 * (predicted @ point), 0.0))

    distances = np.full(predicted.shape[0], np.inf)
    for row in np.flatnonzero(chosen):
        distances = np.minimum(distances, from_point(predicted[[row]].toarray()[0]))
    alone = not chosen.any()
    if alone and len(pool):
        distances = from_point(np.asarray(predicted[pool].mean(axis=0)).ravel())
    picks: list[int] = []
    left = np.isin(np.arange(predicted.shape[0]), pool)
    for number in range(min(budget, len(pool))):
        pick = int(pool[np.argmax(np.where(left[pool], distances[pool], -1.0))])
        picks.append(pick)
        left[pick] = False
        known = np.inf if alone and not number else distances  # the mean stands only for the first
        distances = np.where(left, np.minimum(known, from_point(predicted[[pick]].toarray()[0])), distances)
    return picks, distances
