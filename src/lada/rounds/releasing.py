"""Passes a party's knowledge through its policies before it leaves. Distinctive passages are withheld after the
policies for texts and before the others."""

from collections import Counter
from collections.abc import Sequence

from lada.core.errors import InputError, of_method
from lada.core.results import PartyReport
from lada.core.terms import Knowledge, Likelihood
from lada.policies.base import POLICIES, Owner, Policy
from lada.rounds.options import KnowledgeKind
from lada.rounds.party import Party
from lada.rounds.states import address, keep_state, state_of
from lada.rounds.steps import in_range
from lada.rounds.verdicts import Verdict, judged, note_failures
from lada.rounds.withholding import keep_back

JUDGED = "judge-redacted"
"""The phase in which changed texts are judged, whichever policy changed them."""


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
    round, samples = knowledge.round, {sample.id: sample for sample in party.task.public}
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

    owner = Owner(party.name, party.seed, judge, verify, notes.append)
    key = address(POLICIES.kind, name, party.name)
    with of_method(POLICIES.kind, name):
        state, released = policy.release(state_of(party, policy, key), knowledge, owner)
        given, left = knowledge.by_id(), [path.sample_id for path in released.paths]
        if len(set(left)) < len(left) or not given.keys() >= set(left):
            raise InputError(
                f"policy {name!r}: it released a path twice, or one that it was not given; expected each of the "
                f"{len(given)} paths at most once"
            )
    keep_state(party, key, state)
    note_failures(party, f"round {round}, {name}", failures, asked)
    party.note(notices=tuple(f"round {round}: {party.name} {note}" for note in notes))
    return in_range(party, released) if policy.texts else released
