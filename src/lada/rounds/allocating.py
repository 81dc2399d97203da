"""A student's allocator chooses among one teacher's offers; the choice is recorded."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from lada.allocators.base import ALLOCATORS, Allocator, Candidates
from lada.allocators.reviews import Reviews
from lada.codecs.likelihoods import rounded
from lada.core.errors import InputError, of_method
from lada.core.results import AllocationRecord
from lada.core.seeds import seed_of
from lada.core.terms import Allocation, Knowledge, Likelihood, Path, Sample, TokenScores
from lada.evaluation.agreement import agreements
from lada.rounds.embedding import embed_own, embed_public
from lada.rounds.options import Replay
from lada.rounds.party import Party
from lada.rounds.records import keep_rows
from lada.rounds.states import check_state
from lada.rounds.trials import PartyTrials
from lada.rounds.watched import last_studied

LOOKED_AT = 256
"""Paths whose tokens are scored at once, since all their likeliest tokens are in memory."""


def check_takes_labels(allocator: Allocator, where: str, instead: str) -> None:
    """Raise InputError for an allocator that cannot use gold texts, naming `where` they are required."""
    if allocator.needs.own_paths:
        raise InputError(
            f"{where}, but the allocator compares paths that the parties wrote themselves; expected {instead}, or an "
            "allocator such as dual_min_ce, random or lada_paper"
        )


def allocate_offers(
    party: Party,
    round: int,
    teacher: Knowledge,
    own: Knowledge,
    judged: Mapping[str, Likelihood] | None = None,
    *,
    replay: Replay,
    teachers: int = 1,
    trusted: bool = True,
    keeps: bool = True,
    reviews: Callable[[Candidates], Reviews] | None = None,
) -> Allocation:
    """Let a student's allocator for one teacher choose, keep its state, and record the choice.

    Candidates are the samples that both parties know. `judged` is the result of `judge` for the same two, if available.
    Trial studies use `replay` and this teacher's share, one of `teachers` equal parts of the study. `trusted` says
    whether the student trusts the teacher's own likelihoods. `keeps` says whether it may keep the result of trials.
    `reviews` returns what is known of all parties' answers to the candidates, for an allocator that needs it.
    """
    paths, mine = teacher.by_id(), own.by_id()
    judged = judge(party, round, teacher, own) if judged is None else judged
    known = [i for i, sample in enumerate(party.task.public) if sample.id in judged]
    samples = tuple(party.task.public[i] for i in known)
    teacher_paths = tuple(paths[sample.id] for sample in samples)
    student_paths = tuple(mine[sample.id] for sample in samples)
    agree = agreements(teacher_paths, student_paths, party.task.same)
    trials = PartyTrials(party, round, samples, teacher_paths, own, replay, 1 / teachers, keeps)
    candidates = Candidates(
        round=round,
        teacher=teacher.party,
        student=party.name,
        samples=samples,
        teacher_paths=teacher_paths,
        student_paths=student_paths,
        student_on_teacher=tuple(judged[sample.id] for sample in samples),
        agree=tuple(agree),
        role=party.role,
        trusted=trusted,
        embed=lambda: embed_public(party, round)[known],
        own=partial(embed_own, party, round),
        look=partial(_look, party, round, samples, teacher_paths),
        read=partial(_read, party, round, samples, teacher_paths),
        trials=trials,
        score=partial(_score_texts, party, round, samples),
        seed=seed_of(party.seed, round, "allocate", party.name, teacher.party),
        studied=last_studied(party),
    )
    if reviews is not None and party.allocator.needs.reviews:
        candidates = replace(candidates, reviews=reviews(candidates))
    key = f"{teacher.party}>{party.name}"
    state = party.states.get(key) or party.allocator.init(seed_of(party.seed, "allocator", key))
    name = type(party.allocator).__name__
    with of_method(ALLOCATORS.kind, name), trials:
        party.states[key], allocation, diagnostics = party.allocator.apply(state, candidates)
        check_state(f"{ALLOCATORS.kind}/{name}/{key}", party.states[key])
        chosen = [choice.sample_id for choice in allocation.choices]
        if len(set(chosen)) < len(chosen) or not judged.keys() >= set(chosen):
            raise InputError(
                f"allocator {name!r}: it chose a sample twice, or one that is not a candidate; expected each of the "
                f"{len(samples)} candidates at most once"
            )
    learnt = [(paths if choice.source == "teacher" else mine)[choice.sample_id] for choice in allocation.choices]
    original = {sample.id for sample in samples if sample.origin is None}
    read = [path for path in learnt if path.sample_id in original]  # a generated question need not be the corpus's
    verdicts = [path.right for path in learnt if path.right is not None]
    asked = {sample.id: sample for sample in samples}
    check, style = party.task.steps, party.task.style
    sound = [all(good for _, good in check(asked[path.sample_id], path.text)) for path in read] if check else []
    party.note(
        allocations=(
            AllocationRecord(
                teacher=teacher.party,
                student=party.name,
                round=round,
                candidates=len(samples),
                chosen=len(learnt),
                from_teacher=sum(choice.source == "teacher" for choice in allocation.choices),
                right=round_percent(verdicts),
                sound=round_percent(sound),
                styles=dict(sorted(Counter(style(asked[p.sample_id], p.text) for p in read).items())) if style else {},
                agreement=round_percent(agree) or 0.0,
                trial_tokens=trials.tokens,
                diagnostics=diagnostics,
            ),
        )
    )
    keep_rows(party, candidates, allocation)
    return allocation


def judge(party: Party, round: int, teacher: Knowledge, own: Knowledge) -> dict[str, Likelihood]:
    """Return a student's likelihoods of a teacher's paths, by sample that both know.

    For a text that equals the student's own, its own likelihood is reused.
    """
    theirs, mine = teacher.by_id(), own.by_id()
    samples = [sample for sample in party.task.public if sample.id in theirs and sample.id in mine]
    judged = {sample.id: mine[sample.id].likelihood for sample in samples}
    other = [sample for sample in samples if theirs[sample.id].text != mine[sample.id].text]
    if other:
        with party.phase(round, "judge") as progress:
            pairs = [(sample.question, theirs[sample.id].text) for sample in other]
            for sample, likelihood in zip(other, party.learner.judge(pairs, progress=progress), strict=True):
                judged[sample.id] = rounded(likelihood)  # as others receive it, or equal ones would differ
    return judged


def _look(
    party: Party, round: int, samples: Sequence[Sample], theirs: Sequence[Path], k: int
) -> Iterator[TokenScores | None]:
    """Yield the student's scores of each token of a teacher's paths; see Candidates.look."""
    pairs = [(sample.question, path.text) for sample, path in zip(samples, theirs, strict=True)]
    yield from _score(party, round, pairs, k, LOOKED_AT)


def _score_texts(
    party: Party, round: int, samples: Sequence[Sample], texts: Sequence[tuple[int, str]]
) -> Iterator[TokenScores | None]:
    """Yield the student's scores of each token of texts; see Candidates.score."""
    pairs = [(samples[place].question, text) for place, text in texts]
    # In as many calls as a look at all paths takes: a report has room for that many.
    yield from _score(party, round, pairs, 1, LOOKED_AT * -(-len(texts) // max(len(samples), 1)))


def _score(
    party: Party, round: int, pairs: Sequence[tuple[str, str]], k: int, size: int
) -> Iterator[TokenScores | None]:
    """Yield the student's `k` likeliest tokens at each position of texts, `size` texts at a time."""
    for start in range(0, len(pairs), max(size, 1)):
        with party.phase(round, "score") as progress:
            found = party.learner.log_probs(pairs[start : start + size], k, progress=progress)
        yield from found


def _read(party: Party, round: int, samples: Sequence[Sample], theirs: Sequence[Path]) -> np.ndarray:
    """Return the student's vectors of surprise for a teacher's paths; see Candidates.read."""
    pairs = [(sample.question, path.text) for sample, path in zip(samples, theirs, strict=True)]
    with party.phase(round, "read") as progress:
        return party.learner.read(pairs, progress=progress)


def round_percent(flags: Sequence[bool]) -> float | None:
    """Return the share of True in percent with four decimals; None for no flags."""
    return round(100 * sum(flags) / len(flags), 4) if flags else None
