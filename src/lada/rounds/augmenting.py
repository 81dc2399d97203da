"""The server's LLM writes new public questions: what an augmenter asks for, checked, answered and counted.

A call of the LLM is journalled with its tokens, so that a resumed run neither repeats nor forgets it. In this order a
draft is refused, and counted by its reason: a reply without answer, a question that must not be asked
(lada.tasks.drafts.fault), one that there is already, one whose answers disagree, one whose path is longer than clients
accept, one that the task's verifier rejects, one that the augmenter does not keep, one beyond the limit of the pool. A
prompt is left out, and counted, if the budget has no calls left for it and for the answers to what it asks for.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import Any

from lada.augmenters.base import AUGMENTERS, Augmenter, Draft, Kept, Prompt, View
from lada.codecs.generated import with_origin
from lada.core.errors import InputError, of_method
from lada.core.plural import counted
from lada.core.results import Augmentation
from lada.core.seeds import seed_of
from lada.core.terms import Origin, Sample
from lada.models.base import Answer, Progress
from lada.rounds.outcomes import outcomes_of
from lada.rounds.party import Party
from lada.rounds.pool import grow
from lada.rounds.states import address, keep_state, state_of
from lada.rounds.steps import answer_once
from lada.tasks.data import TaskData
from lada.tasks.drafts import PREFIX, fault, foreign, normal, normals, read, scripts
from lada.verifiers.base import Asked, Failure

CALLS = "augmenter calls"
"""In the server's memory: the number of calls so far."""


@dataclass
class Bill:
    """The calls of one round, within the budget of the run."""

    left: int
    calls: int = 0
    read: int = 0
    written: int = 0

    def add(self, answers: Sequence[Sequence[Answer]]) -> None:
        """Count the calls behind answers."""
        flat = [answer for several in answers for answer in several]
        self.calls, self.left = self.calls + len(flat), self.left - len(flat)
        self.read += sum(answer.read for answer in flat)
        self.written += sum(answer.written for answer in flat)


@dataclass
class Screened:
    """Questions that may be asked, with the ids of the samples shown for each; why others may not."""

    questions: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    drafts: int = 0


def check_task(name: str, augmenter: Augmenter[Any], task: TaskData) -> None:
    """Raise InputError for data that an augmenter cannot work with."""
    everybody = (*task.public, *task.test, *task.replay)
    if taken := next((sample.id for sample in everybody if sample.id.startswith(PREFIX)), None):
        raise InputError(f"task: the sample {taken!r} has an id that begins with {PREFIX!r}; rename it")
    known = sum(sample.answer is not None for sample in task.public)
    if augmenter.labels and known < 4:
        raise InputError(
            f"augmenter {name!r} needs public samples with gold answers, at least 4; there are {known}. Add answers to "
            "the task, or choose another augmenter"
        )
    if augmenter.held_out and not 0 < round(augmenter.held_out * known) < len(task.public):
        raise InputError(
            f"augmenter.options.validation: {augmenter.held_out} of {counted(known, 'public sample')} with a gold "
            "answer leaves none for validation or none to learn from; expected a share that leaves both"
        )
    if augmenter.options.verify == "verifier" and task.solve is None and task.verifier is None:
        raise InputError(
            "augmenter.options.verify: 'verifier' needs a task that can verify new answers, such as rulebooks or one "
            "with task.verifier; expected 'agreement'"
        )


def augment(party: Party, round: int, name: str, augmenter: Augmenter[Any]) -> None:
    """Let the server's LLM write questions, and add those that are kept to its pool. The report counts everything."""
    options, task = augmenter.options, party.task
    key = address(AUGMENTERS.kind, name, "run")
    pool = len(with_origin(task.public))
    bill = Bill(options.calls - int(party.memory.get(CALLS, b"0")))
    view = View(round, task.public, task.validation, outcomes_of(party), seed_of(party.seed, round, "augment"))
    with of_method(AUGMENTERS.kind, name):
        state, request = augmenter.ask(state_of(party, augmenter, key), view)
    room = options.most - pool
    prompts = request.prompts if room > 0 else ()
    each = 1 + options.per_call * options.paths  # a prompt, with the answers to what it asks for
    labelled = request.calibration[: max(bill.left - each, 0) // options.paths] if prompts else ()
    calibration = _answered(party, round, "augment-calibrate", list(labelled), augmenter, bill)
    calibration = [(draft, sample) for draft, sample in calibration if draft is not None]
    asked = prompts[: bill.left // each]
    replies = _call(party, round, "augment-write", [prompt.text for prompt in asked], 1, augmenter, bill)
    longest = min(options.chars, party.limits.path_chars)
    screened = _screen(party, zip(asked, (reply for (reply,) in replies), strict=True), longest)
    screened.refused["no calls left"] += sum(prompt.count for prompt in prompts[len(asked) :])
    drafts = _answers(party, round, screened, augmenter, bill)
    kept = Kept(())
    if drafts or calibration:
        with of_method(AUGMENTERS.kind, name):
            state, kept = augmenter.keep(state, [draft for draft, _ in drafts], [draft for draft, _ in calibration])
            _check(kept, len(drafts))
    chosen = [drafts[place] for place in sorted(kept.places)]
    refused = screened.refused + kept.refused
    refused["pool full"] += max(len(chosen) - max(room, 0), 0)
    samples = _samples(party, round, chosen[: max(room, 0)])
    keep_state(party, key, state)
    party.memory[CALLS] = str(options.calls - bill.left).encode()
    grow(party, round, samples)
    figures = {**request.diagnostics, **kept.diagnostics}
    record = Augmentation(
        party=party.name,
        round=round,
        method=name,
        calls=bill.calls,
        read=bill.read,
        written=bill.written,
        drafts=screened.drafts,
        refused=dict(sorted((+refused).items())),
        kept=len(samples),
        pool=pool + len(samples),
        diagnostics={key: value for key, value in figures.items() if isfinite(value)},
        **_truth(task, [question for question, _ in screened.questions], samples),
    )
    party.note(augmentations=(record,))
    if request.prompts and not samples:
        none = f"kept none of {counted(screened.drafts, 'draft')}"
        why = none if asked else f"has no calls left of {options.calls}" if prompts else "has filled its pool"
        party.note(notices=(f"round {round}: augmenter {name!r} {why}",))


def _call(
    party: Party, round: int, purpose: str, questions: list[str], paths: int, augmenter: Augmenter[Any], bill: Bill
) -> list[list[Answer]]:
    """Let the LLM write `paths` texts for each question. Finished calls are in the journal."""
    if not questions:
        return []
    seed, temperature = seed_of(party.seed, round, purpose, party.name), augmenter.options.temperature

    def do(progress: Progress) -> list[list[Answer]]:
        return party.learner.sample(questions, paths=paths, seed=seed, temperature=temperature, progress=progress)

    answers = answer_once(party, round, purpose, do, given=[questions, paths, seed, temperature])
    bill.add(answers)
    return answers


def _screen(party: Party, replies: Iterable[tuple[Prompt, Answer]], chars: int) -> Screened:
    """Return the questions of replies that are new and may be asked."""
    task, found = party.task, Screened()
    seen = set(normals((*task.shared, *task.test, *task.replay)))
    written_in = scripts(sample.question for sample in task.shared)
    for prompt, reply in replies:
        questions = [""] if reply.refused else read(reply.text, prompt.count)
        for place, question in enumerate(questions):
            found.drafts += 1
            last = place == len(questions) - 1
            why = "no answer" if reply.refused else fault(question, chars)
            why = why or ("another script" if foreign(question, written_in) else None)
            why = why or ("cut" if reply.cut and last else None)
            why = why or ("duplicate" if normal(question) in seen else None)
            if why is not None:
                found.refused[why] += 1
                continue
            seen.add(normal(question))
            found.questions.append((question, prompt.sources))
    return found


def _answers(
    party: Party, round: int, screened: Screened, augmenter: Augmenter[Any], bill: Bill
) -> list[tuple[Draft, tuple[str, ...]]]:
    """Return the screened questions with answers that enough paths and the verifier vouch for, with their sources."""
    options, refused = augmenter.options, screened.refused
    asked = [Sample(f"{PREFIX}{place}", question) for place, (question, _) in enumerate(screened.questions)]
    drafts = []
    answered = _answered(party, round, "augment-answer", asked, augmenter, bill)
    for (draft, sample), (_, sources) in zip(answered, screened.questions, strict=True):
        if draft is None or draft.agreement < options.agreement:
            refused["answers disagree"] += 1
        elif max(len(draft.text), len(draft.answer)) > party.limits.path_chars:
            refused["path too long"] += 1
        elif options.verify == "verifier" and (why := _rejected(party.task, sample, draft)):
            refused[why] += 1
        else:
            drafts.append((draft, sources))
    return drafts


def _answered(
    party: Party, round: int, purpose: str, asked: list[Sample], augmenter: Augmenter[Any], bill: Bill
) -> list[tuple[Draft | None, Sample]]:
    """Return a draft for each sample, None if no path has an answer."""
    paths = augmenter.options.paths
    written = _call(party, round, purpose, [sample.question for sample in asked], paths, augmenter, bill)
    return [
        (_agreed(party.task, sample, answers, paths), sample) for sample, answers in zip(asked, written, strict=True)
    ]


def _agreed(task: TaskData, sample: Sample, answers: Sequence[Answer], paths: int) -> Draft | None:
    """Return the most frequent answer, the first of several, with the likeliest path that gives it."""
    groups: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        said = None if answer.refused or answer.cut else task.extract(answer.text)
        if said is not None:
            groups[next((known for known in groups if task.same(said, known)), said)].append(answer)
    if not groups:
        return None
    said, agreeing = max(groups.items(), key=lambda group: len(group[1]))
    best = max(agreeing, key=lambda each: each.likelihood.mean if _known(each) else -1e9)
    right = None if sample.answer is None else task.same(said, sample.answer)
    likelihood = best.likelihood.mean if _known(best) else nan
    return Draft(sample.question, said, best.text, len(agreeing) / paths, likelihood, right)


def _known(answer: Answer) -> bool:
    return answer.likelihood.known and isfinite(answer.likelihood.total)


def _rejected(task: TaskData, sample: Sample, draft: Draft) -> str | None:
    """Return why the task's verifier does not vouch for a draft; None if it does."""
    if task.solve is not None:
        solved = task.solve(sample.question)
        if solved is None or solved.answer is None:
            return "no question of the task"
        return None if task.same(draft.answer, solved.answer) else "answer wrong"
    assert task.verifier is not None, "see check_task"
    (score,) = task.verifier.scores([Asked(sample, draft.text, draft.answer)])
    if isinstance(score, Failure):
        return "verifier failed"
    return None if score >= task.verifier.threshold else "answer wrong"


def _check(kept: Kept, drafts: int) -> None:
    """Raise InputError for an augmenter that keeps what there is not, or loses drafts."""
    if not set(kept.places) <= set(range(drafts)) or len(set(kept.places)) < len(kept.places):
        raise InputError(f"it kept a draft twice or one that it was not given; expected each of {drafts} at most once")
    if len(kept.places) + kept.refused.total() != drafts:
        raise InputError(f"it kept {len(kept.places)} and refused {kept.refused.total()} of {drafts} drafts")


def _samples(party: Party, round: int, chosen: Sequence[tuple[Draft, tuple[str, ...]]]) -> tuple[Sample, ...]:
    """Return drafts as samples. The domain is the task's for the question, else that of all its sources."""
    domains = {sample.id: sample.domain for sample in party.task.public}
    samples = []
    for number, (draft, sources) in enumerate(chosen):
        shown = {domains[id] for id in sources}
        solved = party.task.solve(draft.question) if party.task.solve else None
        samples.append(
            Sample(
                f"{PREFIX}{round:04}-{number:05}",
                draft.question,
                draft.answer,
                draft.text,
                solved.domain if solved else shown.pop() if len(shown) == 1 else "",
                origin=Origin(party.name, round, sources, draft.agreement),
            )
        )
    return tuple(samples)


def _truth(task: TaskData, questions: Sequence[str], samples: Sequence[Sample]) -> dict[str, float | None]:
    """Return, in percent, the shares of screened questions that the task can solve and of right kept answers, for
    display only."""
    if task.solve is None:
        return {}
    solved = [task.solve(question) is not None for question in questions]
    truth: Callable[[str], Sample | None] = task.solve
    right = [
        (found := truth(sample.question)) is not None and task.same(sample.answer, found.answer or "")
        for sample in samples
    ]
    return {
        name: 100 * sum(flags) / len(flags) if flags else None
        for name, flags in (("well_formed", solved), ("right", right))
    }
