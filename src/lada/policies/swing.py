"""Swing distillation (arXiv 2212.08349, read as an abstract): soft targets are blunt where they may be private.

A position i has a sensitivity π in 0..1 (lada.privacy.sensitivity). Our reading of the release at that position:

    T = T0 + (Tmax - T0) π
    p̃ = normalise(max(softmax(z / T) + ξ, 0)),  ξ ~ Laplace(0, b π) for each token      `where: probabilities`
    p̃ = softmax(z / T + ξ)                                                              `where: logits`

z are the log-probs of the whole vocabulary, where the tokens that the model did not name share the tail evenly. The k
likeliest tokens of p̃ leave, so noise changes which tokens are named. A position with π = 0 stays as it is at T0 = 1.
A text with a changed position gets the likelihood that its released scores give it.
"""

import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from lada.codecs.quantise import LEAST
from lada.codecs.top_values import top
from lada.core.bounds import STEEPEST, Positive
from lada.core.needs import State, needs
from lada.core.plural import counted
from lada.core.terms import Knowledge, Path, Sample, SparseLogProbs, TokenScores, Verb
from lada.policies.base import POLICIES, Owner, Policy
from lada.privacy.distinctive import texts_of
from lada.privacy.options import Noisy, Pattern, PiiKind
from lada.privacy.sensitivity import by_spans, dealt, loss_gap, matches, rare_words

Warmth = Annotated[float, Field(ge=1, le=STEEPEST, allow_inf_nan=False)]


class SwingOptions(Noisy):
    """Options of the policy."""

    score: Literal["gap", "rarity", "patterns"] = "gap"
    """What makes a position sensitive: how far the client's data moved the model there; words that only private samples
    have; or personal data and your own patterns. `gap` also opens the model that the client began with."""
    full_gap: Positive = 1.0
    """With `gap`: nats of expected loss at which a position is fully sensitive."""
    words: int = Field(default=2, ge=1, le=64)
    """With `rarity`: number of words in a row that are looked up in the private samples. The score is 1/c for words
    that c samples have."""
    pii: tuple[PiiKind, ...] = ()
    """With `patterns`: kinds of personal data."""
    patterns: tuple[Pattern, ...] = ()
    """With `patterns`: your own patterns, in the syntax of the package `regex`."""
    temperature: Warmth = 1.0
    """T0, the temperature of a position that is not sensitive."""
    most_temperature: Warmth = 8.0
    """Tmax, the temperature of a fully sensitive position."""
    noise: Literal["none", "laplace", "gaussian"] = "laplace"
    """The noise's distribution."""
    scale: float = Field(default=0.01, ge=0, le=100, allow_inf_nan=False)
    """b, the scale of the noise at a fully sensitive position: probability, or nats with `where: logits`. Every
    token of the vocabulary gets noise, so useful scales are near one over its size."""
    where: Literal["probabilities", "logits"] = "probabilities"
    """What the noise is added to."""
    shuffled: bool = Field(default=False, exclude_if=operator.not_)
    """A control for benchmarks: the sensitivities of a message are assigned to its positions at random. As many
    positions are as blunt, but others than those that may be private, which it does not protect."""

    @model_validator(mode="after")
    def _warms(self) -> "SwingOptions":
        if self.most_temperature < self.temperature:
            raise ValueError(
                f"most_temperature is {self.most_temperature:g}, below temperature, {self.temperature:g}; expected at "
                "least as much"
            )
        if self.score == "patterns" and not (self.pii or self.patterns):
            raise ValueError("score is 'patterns', but there are none; expected pii or patterns")
        return self


@POLICIES.register(
    "swing",
    options=SwingOptions,
    paper="arXiv 2212.08349",
    status="our reading",
    level="abstract",
    needs=needs(student={Verb.LOG_PROBS}),
    tags=("feature",),
)
class Swing(Policy):
    """Raises the temperature of soft targets and adds noise to them, the more the likelier a position is private."""

    scores = True

    def __init__(self, options: SwingOptions) -> None:
        self.options = options

    def release_scores(
        self, state: State, knowledge: Knowledge, scores: Mapping[str, TokenScores], owner: Owner
    ) -> tuple[State, Mapping[str, TokenScores]]:
        """See Policy.release_scores."""
        paths, released, changed = knowledge.by_id(), {}, 0
        sensitivity = self._sensitivity([(paths[id], each) for id, each in scores.items()], owner)
        if self.options.shuffled:
            rng = self.options.generator(owner.seed, knowledge.round, "swing shuffled", owner.name)
            sensitivity = dealt(sensitivity, rng)
        for id, each in scores.items():
            pi = sensitivity[id]
            rng = self.options.generator(owner.seed, knowledge.round, "swing", owner.name, id)
            released[id] = replace(each, top=self.swung(each, pi, len(owner.words), rng))
            changed += int((self._temperatures(pi) > 1).sum())
        if changed:
            total = sum(len(each.tokens) for each in scores.values())
            owner.note(f"blunted {changed} of {counted(total, 'position')} of its soft targets")
        return state, released

    def _sensitivity(self, pairs: list[tuple[Path, TokenScores]], owner: Owner) -> dict[str, np.ndarray]:
        """Return the sensitivity of each position, float64 [n], by sample id."""
        options = self.options
        if options.score == "gap":
            k = max((each.top.ids.shape[1] for _, each in pairs), default=1)
            before = owner.score_before([(path.sample_id, path.text) for path, _ in pairs], k)
            return {
                path.sample_id: np.ones(len(now.tokens))
                if then is None
                else loss_gap(now.top, then.top, options.full_gap)
                for (path, now), then in zip(pairs, before, strict=True)
            }
        spans = (
            rare_words(map(_text, owner.private), map(_text, owner.public), options.words)
            if options.score == "rarity"
            else matches(options.pii, options.patterns)
        )
        return {path.sample_id: by_spans(path.text, each, owner.words, spans) for path, each in pairs}

    def _temperatures(self, pi: np.ndarray) -> np.ndarray:
        return self.options.temperature + (self.options.most_temperature - self.options.temperature) * pi

    def swung(self, scores: TokenScores, pi: np.ndarray, size: int, rng: np.random.Generator) -> SparseLogProbs:
        """Return the likeliest tokens at each of n positions, given their sensitivity [n] and the vocabulary's size.

        One position's distribution over the vocabulary is in memory at a time.
        """
        ids, log_probs = scores.top.ids.copy(), scores.top.log_probs.copy()
        draw = self._draw(rng)
        for row in np.flatnonzero(self._temperatures(pi) > 1):
            z = _dense(ids[row], log_probs[row], size) / self._temperatures(pi)[row]
            released = self._noised(z, partial(draw, pi[row] * self.options.scale, size))
            likeliest = np.exp(released)
            likeliest[scores.tokens[row]] = np.inf  # the text's own token is always among them
            ids[row] = top(likeliest, ids.shape[1])
            log_probs[row] = np.clip(released[ids[row]], LEAST, 0.0)
        return SparseLogProbs(ids, log_probs)

    def _draw(self, rng: np.random.Generator) -> Callable[[float, int], np.ndarray]:
        if self.options.noise == "none":
            return lambda _, size: np.zeros(size)
        return partial(rng.laplace if self.options.noise == "laplace" else rng.normal, 0.0)

    def _noised(self, z: np.ndarray, draw: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the log-probs of p̃, given logits z of the vocabulary."""
        if self.options.where == "logits":
            return _log_softmax(z + draw())
        noised = np.maximum(np.exp(_log_softmax(z)) + draw(), 0.0)
        if not noised.sum():  # the noise took all of it, which says nothing
            noised[:] = 1.0
        with np.errstate(divide="ignore"):
            return np.log(noised / noised.sum())


def _text(sample: Sample) -> str:
    return "\n".join(texts_of(sample))


def _dense(ids: np.ndarray, log_probs: np.ndarray, size: int) -> np.ndarray:
    """Return the log-probs of a whole vocabulary: tokens without one share the tail evenly."""
    rest = max(1.0 - float(np.exp(log_probs, dtype=np.float64).sum()), 0.0)
    tail = max(np.log(rest / (size - len(ids))), LEAST) if rest and size > len(ids) else LEAST
    dense = np.full(size, tail)
    dense[ids] = log_probs
    return dense


def _log_softmax(z: np.ndarray) -> np.ndarray:
    shifted = z - z.max()
    return shifted - np.log(np.exp(shifted).sum())
