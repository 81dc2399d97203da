"""How a method of each kind is asked: one step of it, from a state, in a round, with what it works on in any order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from said import part_of
from scored import LESSONS, SIZES, batch
from tables import Row, candidates

from lada.aggregators.base import Update
from lada.augmenters.base import Draft, Outcome, View
from lada.core.needs import State
from lada.core.terms import Knowledge, Likelihood, OwnQuestions, Path, Sample, SparseLogProbs, TokenScores
from lada.models.objective import Done
from lada.policies.base import Owner

Order = Callable[[Sequence[Any]], Sequence[Any]]
"""Gives samples or parties in another order."""
Step = Callable[[Any, State, int, Order], tuple[State, Any]]
"""Takes a method, its state, the round and the order, and returns the next state and what came of it."""
SAMPLES = 16


def as_it_is(things: Sequence[Any]) -> Sequence[Any]:
    return things


def shuffled(things: Sequence[Any]) -> Sequence[Any]:
    return [things[place] for place in np.random.default_rng(len(things)).permutation(len(things))]


def likelihood(rng: np.random.Generator, size: int) -> Likelihood:
    tokens = -rng.exponential(1.0, 4).astype(np.float32)
    return Likelihood(float(tokens.sum()), float(tokens.min()), 4, size)


class Tries:
    """A student on trial: it knows the lengths of the names of the questions that it has studied."""

    def __init__(self, names: Sequence[str]) -> None:
        self._lengths = [len(name) for name in names]

    def study(self, chosen: Sequence[int], share: float, after: frozenset[int] | None = None) -> frozenset[int]:
        """Return what it knows then, whatever the order of what it studies."""
        return (after or frozenset()).union(self._lengths[i] for i in chosen)

    def examine(self, after: frozenset[int], probes: Sequence[int], *, gold: bool = True) -> np.ndarray:
        """Return what it solves: a question whose name is as long as one that it knows."""
        return np.array([self._lengths[i] in after for i in probes], dtype=bool)

    def likelihoods(self, after: frozenset[int], chosen: Sequence[int]) -> np.ndarray:
        """Return likelihoods by how far the names are from what it knows."""
        return np.array([-min(abs(self._lengths[i] - known) for known in after) for i in chosen], dtype=np.float64)

    def keep(self, after: frozenset[int]) -> None:
        """Do nothing."""


def byte_by_byte(address: str, text: str) -> TokenScores:
    """Return a text whose tokens are its bytes, each as likely as its `address` says."""
    ids = np.frombuffer(text.encode(), np.uint8).astype(np.int32)
    spans = np.stack([np.arange(len(ids)), np.arange(1, len(ids) + 1)], 1).astype(np.int32)
    log_probs = -np.random.default_rng(list(address.encode())).exponential(1.0, (len(ids), 1))
    return TokenScores(ids, spans, SparseLogProbs(ids[:, None], log_probs.astype(np.float32)))


def own_questions() -> OwnQuestions:
    """Return the private questions of a client."""
    vectors = np.random.default_rng(1).normal(size=(9, 8)).astype(np.float32)
    samples = tuple(Sample(f"own {i}", f"question {i}", f"{i % 2}", domain=f"domain {i % 2}") for i in range(9))
    return OwnQuestions(samples, vectors)


def allocate(method: Any, state: State, round: int, order: Order) -> tuple[State, Any]:
    """Let an allocator choose among samples of which it loses and gains some from round to round."""
    rng = np.random.default_rng(round)
    answers = [None, "1", "2"]
    rows = [
        Row(
            answers[rng.integers(3)],
            answers[rng.integers(3)],
            bool(rng.integers(2)),
            bool(rng.integers(2)),
            *(-rng.exponential(1.0, 6)),
            domain=f"domain {place % 3}",
            path=f"add {place} . then halve it . answer {place}",
        )
        for place in range(SAMPLES)
    ]
    vectors = np.random.default_rng(0).normal(size=(SAMPLES + 4, 8)).astype(np.float32)[round : round + SAMPLES]
    tokens = [np.sort(rng.choice(50, (5,), replace=False)).astype(np.int32) for _ in rows]
    spans = np.stack([np.arange(3), np.arange(1, 4)], 1).astype(np.int32)
    looks = [
        TokenScores(
            ids[:3], spans, SparseLogProbs(np.tile(ids, (3, 1)), (-1 - rng.exponential(1.0, (3, 5))).astype(np.float32))
        )
        for ids in tokens
    ]
    table = candidates(rows, round=round, embeddings=vectors, seed=7 + round, looks=looks)
    at = list(order(range(SAMPLES)))
    names = [f"q{place + round}" for place in range(SAMPLES)]
    renamed = {
        name: tuple(replace(getattr(table, name)[i], **{key: names[i]}) for i in at)
        for name, key in (("samples", "id"), ("teacher_paths", "sample_id"), ("student_paths", "sample_id"))
    }
    moved = {name: tuple(getattr(table, name)[i] for i in at) for name in ("student_on_teacher", "agree")}
    table = replace(
        table,
        **renamed,
        **moved,
        embed=lambda: vectors[at],
        own=own_questions,
        look=lambda k: iter([looks[i] for i in at]),
        read=lambda: vectors[at],
        trials=Tries([names[i] for i in at]),
        score=lambda texts: iter([byte_by_byte(f"{names[at[i]]} {text}", text) for i, text in texts]),
    )
    state, allocation, numbers = method.apply(state, table)
    choices = sorted((each.sample_id, each.source, each.score, each.reason) for each in allocation.choices)
    return state, (choices, allocation.scores, numbers)


def learn(method: Any, state: State, round: int, order: Order) -> tuple[State, Any]:
    """Let an objective score a batch and take a step."""
    whole = batch(round)
    scored = whole.of(method, state, list(order(range(LESSONS))))
    loss = method(scored)
    loss.backward()
    observed = {name: value.numpy() for name, value in whole.observed.items()}
    state = method.after_step(state, Done(round, 2, round, 4, float(loss.detach()), observed))
    gradients = [each.grad for each in whole.students if each.grad is not None]
    own = {name: parameter.grad for name, parameter in scored.parameters.items()}
    return state, (float(loss.detach()), gradients, own)


def fuse(method: Any, state: State, round: int, order: Order) -> tuple[State, Any]:
    """Let a fuser choose among three offers for each of some samples, for two receivers, or weigh three members."""
    if method.weighs:
        return weigh(method, state, round, order)
    rng, won = np.random.default_rng(round), []
    for sample in range(SAMPLES):
        paths = {name: Path(f"s{sample}", name, "answer 1", "1", None, likelihood(rng, 8)) for name in "abcd"}
        offers = {name: paths[name] for name in order("abc")}
        for receiver in ("d", "e"):
            state, winner = method.fuse(state, receiver, offers, paths["d"] if receiver == "d" else None)
            won.append(winner)
    return state, won


def weigh(method: Any, state: State, round: int, order: Order) -> tuple[State, Any]:
    """Let a fuser weigh three members by their distributions over 9 tokens, of which each names 4."""
    rng = np.random.default_rng(round)
    members = {}
    for name in "abc":
        texts = {}
        for sample in range(SAMPLES):
            ids = np.sort(np.stack([rng.choice(9, 4, replace=False) for _ in range(3)]), 1).astype(np.int32)
            likely = rng.dirichlet(np.ones(5), 3)[:, :4]
            texts[f"s{sample}"] = SparseLogProbs(ids, np.log(likely).astype(np.float32))
        members[name] = {sample: texts[sample] for sample in order(list(texts))}
    state, found = method.weigh(state, {name: members[name] for name in order("abc")}, 9)
    return state, (found.of, found.notices)


def release(method: Any, state: State, round: int, order: Order) -> tuple[State, Any]:
    """Let a policy look at paths, and at their token scores if it changes these."""
    rng, notes = np.random.default_rng(round), []
    paths = [
        Path(f"s{i}", "a", text, str(i), True, likelihood(rng, len(text)))
        for i in range(SAMPLES)
        for text in [f"so write to a{i}@b.org . answer {i}"]
    ]
    owner = Owner(
        "a",
        5,
        judge=lambda texts: [Likelihood(-float(len(text)), -1.0, 4, len(text)) for _, text in texts],
        verify=lambda id, text: (text.partition("answer ")[2] or None, True),
        note=notes.append,
        embed=lambda: (
            [Sample(f"s{i}", f"question {i}", domain=f"domain {i % 3}") for i in range(SAMPLES)],
            np.random.default_rng(0).normal(size=(SAMPLES, 8)).astype(np.float32),
        ),
        own=own_questions,
        private=(Sample("x", "write to a1@b.org"),),
        words=tuple(bytes([byte]) for byte in range(256)),
        score_before=lambda texts, k: [byte_by_byte("before", text) for _, text in texts],
    )
    knowledge = Knowledge("a", round, tuple(order(paths)))
    state, released = method.release(state, knowledge, owner)
    scores = {}
    if method.scores:
        scores = {path.sample_id: byte_by_byte(path.sample_id, path.text) for path in knowledge.paths}
        state, scores = method.release_scores(state, knowledge, scores, owner)
    tops = {id: (each.top.ids, each.top.log_probs) for id, each in scores.items()}
    return state, (released.by_id(), tops, notes)


def go_on(method: Any, state: State, round: int, order: Order) -> tuple[State, Any]:
    """Let a hook see a step's gradients and a study's weights."""
    rng = np.random.default_rng(round)
    names = order([f"layer.{number}.lora_{side}.weight" for number in range(3) for side in "AB"])
    before, after, raw = (
        {name: rng.normal(size=(3, 2)).astype(np.float32) for name in sorted(names)} for _ in range(3)
    )
    gradients = {name: torch.tensor(raw[name]) for name in names}
    steered = method.gradients(state, gradients)
    state, weights = method.after_study(state, {n: before[n] for n in names}, {n: after[n] for n in names})
    assert all(torch.equal(gradients[name], torch.tensor(raw[name])) for name in names), "it changed what it was given"
    return state, (dict(steered), dict(weights))


def aggregate(method: Any, state: State, round: int, order: Order) -> tuple[State, Any]:
    """Let an aggregator make weights of those of eleven clients, one of which is far from the others."""
    rng = np.random.default_rng(round)
    shapes: Mapping[str, tuple[int, int]] = {"m.lora_A.weight": (2, 5), "m.lora_B.weight": (4, 2)}
    updates = {}
    for client in "abcdefghijk":
        weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        start = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
        if client == "k":
            weights = {name: 50 * each for name, each in weights.items()}
        updates[client] = Update(weights, int(rng.integers(1, 100)), start)
    state, found = method.aggregate(state, {client: updates[client] for client in order(sorted(updates))})
    return state, (found.weights, found.by_client, found.clipped, sorted(found.notices))


def encode(method: Any, state: State, round: int, order: Order) -> tuple[State, Any]:
    """Let a codec write a part."""
    return method.encode(state, part_of(method.kind, round).value)


def augment(method: Any, state: State, round: int, order: Order) -> tuple[State, Any]:
    """Let an augmenter ask for questions and keep some of what the LLM writes."""
    rng = np.random.default_rng(round)
    samples = [Sample(f"s{i:02}", f"question {i}", str(i % 3), domain=f"domain {i % 2}") for i in range(SAMPLES)]
    rows = [Outcome(s.id, str(rng.integers(3)), bool(rng.integers(2)), float(rng.random())) for s in samples]
    half = SAMPLES // 2
    view = View(
        round, order(samples[:half]), order(samples[half:]), {"a": order(rows), "b": order(rows[2:])}, 7 + round
    )
    state, request = method.ask(state, view)
    drafts = [
        Draft(f"draft {i}", "1", "answer 1", float(rng.random()), float(-rng.random()), bool(rng.integers(2)))
        for i in range(2 * SAMPLES)
    ]
    given = order(drafts[:SAMPLES])
    state, kept = method.keep(state, given, order(drafts[SAMPLES:]))
    assert len(kept.places) + kept.refused.total() == len(given), "it lost drafts"
    asked = [(prompt.text, sorted(prompt.sources), prompt.count) for prompt in request.prompts]
    said = (asked, sorted(sample.id for sample in request.calibration), dict(request.diagnostics))
    return state, (said, sorted(given[i].question for i in kept.places), dict(kept.refused), dict(kept.diagnostics))


@dataclass(frozen=True)
class Drive:
    """How to ask methods of a kind."""

    step: Step
    begin: Callable[[Any], State] = lambda method: method.init(3)
    ordered: bool = False
    """Whether the order of what it works on says something, so that another is no other view of the same."""


DRIVES: Mapping[str, Drive] = {
    "allocator": Drive(allocate),
    "augmenter": Drive(augment),
    "objective": Drive(learn, lambda method: method.init(3, SIZES)),
    "fuser": Drive(fuse),
    "policy": Drive(release),
    "hook": Drive(go_on),
    "aggregator": Drive(aggregate),
    "codec": Drive(encode, ordered=True),
}
