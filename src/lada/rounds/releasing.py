"""Passes a party's knowledge through its policies before it leaves. Distinctive passages are withheld after the
policies for texts and before the others."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np

from lada.core.errors import InputError, of_method
from lada.core.needs import State
from lada.core.results import PartyReport
from lada.core.terms import Knowledge, Likelihood, Path, TokenScores
from lada.policies.base import POLICIES, Owner, Policy
from lada.rounds.embedding import embed_own, embed_public
from lada.rounds.options import KnowledgeKind
from lada.rounds.party import Party
from lada.rounds.states import address, keep_state, state_of
from lada.rounds.steps import in_range
from lada.rounds.verdicts import Verdict, judged, note_failures
from lada.rounds.withholding import keep_back

T = TypeVar("T")
JUDGED, SCORED = "judge-redacted", "score"
"""The phases in which texts are judged and scored for a policy, whichever it is."""


def release(party: Party, knowledge: Knowledge, kind: KnowledgeKind) -> tuple[Knowledge, frozenset[str]]:
    """Return knowledge as it may leave, and the ids of samples with changed texts; what was done is counted.

    Gold texts of public samples, which all parties have, stay as they are.
    """
    changed: set[str] = set()

    def prepared(paths: Knowledge) -> Knowledge:
        before = {path.sample_id: path.text for path in paths.paths}
        after = _through(party, paths, texts=True)
        changed.difference_update(path.sample_id for path in after.paths)
        changed.update(path.sample_id for path in after.paths if path.text != before[path.sample_id])
        return after

    if kind == "paths":
        knowledge = keep_back(party, prepared(knowledge), prepared)
    return _through(party, knowledge, texts=False), frozenset(changed)


def release_scores(
    party: Party, knowledge: Knowledge, scores: Mapping[str, TokenScores]
) -> tuple[Knowledge, Mapping[str, TokenScores]]:
    """Return token scores as they may leave, and the knowledge that they are on, whose likelihoods agree with them.

    Only samples with scores are in `scores`; the others' likelihoods stay as they are.
    """
    released = scores
    for name, policy in party.policies:
        if policy.scores:
            released = _scores_by(party, name, policy, knowledge, released)
    if released is scores:
        return knowledge, scores
    paths = tuple(_agreeing(path, scores, released) for path in knowledge.paths)
    return in_range(party, replace(knowledge, paths=paths)), released


def _scores_by(
    party: Party, name: str, policy: Policy, knowledge: Knowledge, scores: Mapping[str, TokenScores]
) -> Mapping[str, TokenScores]:
    def run(state: State, owner: Owner) -> tuple[State, Mapping[str, TokenScores]]:
        owner = replace(owner, words=party.learner.vocabulary().tokens)
        state, released = policy.release_scores(state, knowledge, scores, owner)
        if not all(id in scores and np.array_equal(each.tokens, scores[id].tokens) for id, each in released.items()):
            raise InputError(f"policy {name!r}: it released scores of another text than those that it was given")
        return state, released

    return _run(party, name, policy, knowledge.round, run)


def _agreeing(path: Path, before: Mapping[str, TokenScores], after: Mapping[str, TokenScores]) -> Path:
    """Return a path with the likelihood of its released scores, if they differ for the text's own tokens."""
    if path.sample_id not in after:
        return path
    own, was = after[path.sample_id].own(), before[path.sample_id].own()
    if np.array_equal(own, was):
        return path
    total, minimum = float(own.sum(dtype=np.float64)), float(own.min())
    return replace(path, likelihood=Likelihood(total, minimum, len(own), path.likelihood.size))


def release_report(party: Party, report: PartyReport, moment: Sequence[str | int]) -> PartyReport:
    """Return a report as it may leave; `moment` identifies it."""
    for name, policy in party.policies:
        with of_method(POLICIES.kind, name):
            report = policy.report(report, party.name, (party.seed, *moment))
    return report


def _through(party: Party, knowledge: Knowledge, *, texts: bool) -> Knowledge:
    """Return the knowledge after the policies that change texts, or after the others."""
    for name, policy in party.policies:
        if policy.texts == texts:
            knowledge = _by(party, name, policy, knowledge)
    return knowledge


def _by(party: Party, name: str, policy: Policy, knowledge: Knowledge) -> Knowledge:
    def run(state: State, owner: Owner) -> tuple[State, Knowledge]:
        state, released = policy.release(state, knowledge, owner)
        given, left = knowledge.by_id(), [path.sample_id for path in released.paths]
        if len(set(left)) < len(left) or not given.keys() >= set(left):
            raise InputError(
                f"policy {name!r}: it released a path twice, or one that it was not given; expected each of the "
                f"{len(given)} paths at most once"
            )
        return state, released

    released = _run(party, name, policy, knowledge.round, run)
    return in_range(party, released) if policy.texts else released


def _run(party: Party, name: str, policy: Policy, round: int, do: Callable[[State, Owner], tuple[State, T]]) -> T:
    """Let a policy work from its state, and keep the next state and its notices."""
    samples = {sample.id: sample for sample in party.task.shared}
    failures: Counter[str] = Counter()
    notes: list[str] = []
    asked = 0

    def judge(texts: Sequence[tuple[str, str]]) -> list[Likelihood]:
        with party.phase(round, JUDGED) as progress:
            return party.learner.judge([(samples[id].question, text) for id, text in texts], progress=progress)

    def verify(id: str, text: str) -> Verdict:
        nonlocal asked
        asked += 1
        return next(judged(party, [(samples[id], text)], failures))

    def score_before(texts: Sequence[tuple[str, str]], k: int) -> list[TokenScores | None]:
        with party.phase(round, SCORED) as progress:
            before = party.untrained()
            try:
                return before.log_probs([(samples[id].question, text) for id, text in texts], k, progress=progress)
            finally:
                before.close()

    owner = Owner(
        name=party.name,
        seed=party.seed,
        judge=judge,
        verify=verify,
        note=notes.append,
        embed=lambda: (party.task.public, embed_public(party, round)),
        own=partial(embed_own, party, round),
        private=party.private,
        public=party.task.public,
        score_before=score_before,
    )
    key = address(POLICIES.kind, name, party.name)
    with of_method(POLICIES.kind, name):
        state, released = do(state_of(party, policy, key), owner)
    keep_state(party, key, state)
    note_failures(party, f"round {round}, {name}", failures, asked)
    party.note(notices=tuple(f"round {round}: {party.name} {note}" for note in notes))
    return released
