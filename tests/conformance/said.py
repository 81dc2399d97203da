"""An example of each kind of message part, with the other parts of its message and what is known before it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from lada.codecs.adapters import Adapter
from lada.codecs.base import Outlook
from lada.codecs.generated import Pool
from lada.codecs.judgements import Judged
from lada.codecs.likelihoods import rounded
from lada.codecs.masked import Masked, shapes_of
from lada.codecs.named import SEALED, SECRET, SHARE
from lada.codecs.reviews import Ballot
from lada.codecs.samples import Pooled
from lada.codecs.soft_targets import Scores
from lada.core.results import PartyReport, PhaseTime
from lada.core.terms import Knowledge, Likelihood, Origin, Path, Sample, SparseLogProbs, TokenScores, Vocabulary
from lada.tasks.builtin import load_builtin
from lada.tasks.data import TaskData
from lada.tasks.options import BuiltinTask

SENDER, K, WORDS = "a", 8, 600


@dataclass(frozen=True)
class Part:
    """What a part says, the kinds of the parts in the same message that it is read by, and `value` of what is heard."""

    value: Any
    beside: tuple[str, ...] = ()
    said: Callable[[Any], Any] = lambda received: received


@cache
def task() -> TaskData:
    return load_builtin(BuiltinTask(public=120, private=40, replay=4, test_per_domain=1), {SENDER: ()}, 0)


@cache
def knowledge(round: int) -> Knowledge:
    """Return the gold texts of the public samples as one party's paths, a token for each word and one for the end."""
    rng, paths = np.random.default_rng(round), []
    for sample in task().public:
        text = sample.rationale or ""
        tokens = -rng.exponential(0.5, len(text.split()) + 1).astype(np.float32)
        told = rounded(Likelihood(float(tokens.sum()), float(tokens.min()), len(tokens), len(text.encode())))
        paths.append(Path(sample.id, SENDER, text, task().extract(text), True, told))
    return Knowledge(SENDER, round, tuple(paths))


def scores(round: int) -> Scores:
    rng, found = np.random.default_rng(round), {}
    for path in knowledge(round).paths:
        n = path.likelihood.tokens
        ids = np.sort([rng.choice(WORDS, K, replace=False) for _ in range(n)], 1).astype(np.int32)
        logits = rng.standard_t(5, (n, K + 1))
        log_probs = (logits - np.logaddexp.reduce(logits, 1, keepdims=True))[:, :K].astype(np.float32)
        offsets = np.stack([np.arange(n), np.arange(1, n + 1)], 1).astype(np.int32)
        found[path.sample_id] = TokenScores(ids[:, 3], offsets, SparseLogProbs(ids, log_probs))
    return Scores(SENDER, round, WORDS, found)


def judged(round: int) -> Judged:
    told = scores(round)
    return Judged(SENDER, round, told.size, told.by_id)


def of_judged(received: Any) -> Judged:
    return Judged(received.party, received.round, received.vocabulary_size, dict(received.items()))


def weights(round: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(round)
    shapes = {"m.lora_A.weight": (8, 200), "m.lora_B.weight": (300, 8)}
    return {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}


def masked(round: int) -> Masked:
    shapes = shapes_of(weights(round))
    numbers = np.random.default_rng(round).integers(0, 2**64, 1 + sum(each.size for each in weights(round).values()),
                                                    dtype=np.uint64)  # fmt: skip
    return Masked(numbers, shapes)


def by_name(size: int) -> Callable[[int], Part]:
    return lambda round: Part({SENDER: np.random.default_rng(round).bytes(size)})


def of_soft(received: Any) -> Scores:
    return Scores(received.party, received.round, received.vocabulary_size, dict(received.items()))


def of_told(received: Any) -> Knowledge:
    return received.knowledge


def pool(round: int) -> Pool:
    origin = Origin("llm", round, ("public-00001", "public-00002"), 0.75)
    samples = (
        Sample(f"generated-{i}", f"new question {i}", str(i), f"so answer {i}", "farm", origin=origin) for i in (1, 2)
    )
    return Pool(SENDER, round, tuple(samples))


def ballot(round: int) -> Ballot:
    rng, ids = np.random.default_rng(round), tuple(sample.id for sample in task().public)
    log_probs = -rng.exponential(0.5, (len(ids), 4))
    log_probs[rng.random(log_probs.shape) < 0.1] = np.nan
    return Ballot(SENDER, round, ids, rng.integers(-1, 4, log_probs.shape), log_probs)


def report(round: int) -> PartyReport:
    phase = PhaseTime(party=SENDER, round=round, phase="answer", start=0.0, seconds=0.0)
    return PartyReport(phases=(phase,), notices=("it was told",))


def tokens(round: int) -> tuple[bytes, ...]:
    rng = np.random.default_rng(round)
    return tuple(rng.bytes(1 + place % 5) for place in range(WORDS))


PARTS: Mapping[str, Callable[[int], Part]] = {
    "paths": lambda round: Part(knowledge(round), said=of_told),
    "outcomes": lambda round: Part(knowledge(round), said=of_told),
    "generated": lambda round: Part(pool(round)),
    "likelihoods": lambda round: Part(knowledge(round), said=of_told),
    "soft_targets": lambda round: Part(scores(round), ("likelihoods",), of_soft),
    "judgements": lambda round: Part(judged(round), said=of_judged),
    "reviews": lambda round: Part(ballot(round)),
    "vocabulary": lambda round: Part(Vocabulary(tokens(round), 1)),
    "adapter": lambda round: Part(Adapter(weights(round), 40)),
    "masked_adapter": lambda round: Part(masked(round)),
    "samples": lambda round: Part(Pooled(SENDER, round, task().private[SENDER])),
    "metrics": lambda round: Part(report(round), ("times",)),
    "times": lambda round: Part(np.array([[0.25, 0.5, 1000.0]]), ("metrics",)),
    "keys": by_name(2 * SECRET),
    "key_shares": by_name(SEALED),
    "survivors": by_name(0),
    "opened_shares": by_name(SHARE),
}


def part_of(kind: str, round: int) -> Part:
    """Return a part of a kind. A kind that this suite does not know needs a line in PARTS."""
    return PARTS[kind](round)


def outlook(round: int) -> Outlook:
    """Return what is known before a run of what the parts of a round will say."""
    told = knowledge(round).paths
    return Outlook(
        sender=SENDER,
        samples=len(told),
        mean=float(np.mean([path.likelihood.tokens for path in told])),
        k=K,
        vocabulary=WORDS,
        numbers=sum(each.size for each in weights(round).values()),
        private=tuple(task().private[SENDER]),
    )
