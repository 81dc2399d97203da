"""The building blocks of hosts: a party writes paths, studies lessons, is evaluated. Each is timed and recorded."""

import json
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from lada.codecs.likelihoods import fault, rounded
from lada.codecs.paths import encode
from lada.core.arrays import arrays_to_bytes, bytes_to_arrays
from lada.core.errors import StudyError
from lada.core.plural import counted, plural
from lada.core.results import StudyRecord
from lada.core.sealed import seal
from lada.core.seeds import seed_of
from lada.core.terms import Knowledge, Lesson, Likelihood, Path, Sample
from lada.evaluation.evaluate import evaluate
from lada.models.base import Answer, Course, Progress, Study, StudyReport
from lada.models.objective import Objective
from lada.models.private import Privacy, Release, epsilon, release
from lada.objectives.base import OBJECTIVES
from lada.rounds.cached_phase import cached_phase
from lada.rounds.gold import gold_text
from lada.rounds.hooked import hooked, read_states, write_states
from lada.rounds.party import Party
from lada.rounds.states import check_state
from lada.rounds.unchanged import while_unchanged
from lada.rounds.verdicts import verdicts
from lada.rounds.watched import keep_losses

ANSWERS, MODEL, REPORT, STATE = "answers.json", "model", "report.json", "objective.safetensors"
LOSSES = "lesson-losses.safetensors"
"""Files of a journal entry."""
MOST_SKIPPED = 0.01
"""Maximum share of a study's steps that may be skipped."""
RELEASES = "releases"
"""In a party's memory: what each of its studies under differential privacy released."""


def sft() -> Objective:
    """Return plain supervised fine-tuning, which every party uses on its own data."""
    method = OBJECTIVES.get("sft")
    return method.make(method.options())


def gold_lessons(party: Party, samples: Sequence[Sample]) -> list[Lesson]:
    """Return lessons on the gold texts of `samples`. Samples without one are left out."""
    texts = ((sample, gold_text(party.task, sample)) for sample in samples)
    return [Lesson(sample.id, sample.question, text) for sample, text in texts if text is not None]


def gold_texts(party: Party) -> dict[str, tuple[str, str]]:
    """Return question and gold text of each public sample that has one."""
    return {lesson.sample_id: (lesson.question, lesson.chosen) for lesson in gold_lessons(party, party.task.public)}


def write_paths(
    party: Party,
    samples: Sequence[Sample],
    round: int,
    purpose: str,
    *,
    tries: int = 1,
    answered: bool = False,
    temperature: float = 0.0,
) -> Knowledge:
    """Let a party answer `samples`, greedily by default. Its paths are verified if the gold answer is known.

    With `answered`, as for paths that will be taught, refused questions are left out and counted.

    If an answer is known to be wrong, the party gets `tries` in total. The others are sampled at temperature 1, and the
    right one with the highest likelihood per token replaces the wrong one (rejection sampling, as in STaR, arXiv
    2203.14465, and RFT, arXiv 2308.01825).
    """
    questions = [sample.question for sample in samples]
    seed = seed_of(party.seed, round, purpose, party.name)

    def first(progress: Progress) -> list[list[Answer]]:
        written = party.learner.answer(questions, seed=seed, temperature=temperature, progress=progress)
        return [[answer] for answer in written]

    given = [questions, seed, *([temperature] if temperature else [])]
    answers = answer_once(party, round, purpose, first, given=given)
    first_tried = [(sample, answer) for sample, (answer,) in zip(samples, answers, strict=True)]
    paths = {path.sample_id: path for path in verified(party, first_tried, round, purpose)}
    refused = {sample.id for sample, answer in first_tried if answer.refused}
    wrong = [sample for sample in samples if paths[sample.id].right is False]
    if tries > 1 and wrong:
        again = f"{purpose}-again"

        def others(progress: Progress) -> list[list[Answer]]:
            return party.learner.sample(
                [sample.question for sample in wrong],
                paths=tries - 1,
                seed=seed_of(party.seed, round, again, party.name),
                temperature=1.0,
                progress=progress,
            )

        given = [[sample.question for sample in wrong], tries, seed]
        tried = zip(wrong, answer_once(party, round, again, others, given=given), strict=True)
        found: dict[str, list[Path]] = {}
        more = [(sample, answer) for sample, each in tried for answer in each]
        for path in verified(party, more, round, again):
            if path.right:
                found.setdefault(path.sample_id, []).append(path)
        paths |= {id: max(right, key=_by_likelihood) for id, right in found.items()}
        refused -= found.keys()
    if answered and refused:
        party.note(
            notices=(
                f"round {round}: {len(refused)} of {counted(len(samples), 'question')} "
                f"{plural(len(refused), 'is', 'are')} left out, since {party.name} gave no "
                "answer",
            )
        )
        paths = {id: path for id, path in paths.items() if id not in refused}
    return Knowledge(party.name, round, tuple(paths.values()))


def _by_likelihood(path: Path) -> float:
    return float(np.nan_to_num(path.likelihood.mean, nan=-np.inf))


def verified(party: Party, answers: Sequence[tuple[Sample, Answer]], round: int, purpose: str) -> list[Path]:
    """Return a party's answers as paths, verified as far as possible (see `verdicts`)."""
    found = verdicts(party, [(sample, answer.text) for sample, answer in answers], f"round {round}, {purpose}")
    return [
        Path(sample.id, party.name, answer.text, said, right, answer.likelihood, answer.cut)
        for (sample, answer), (said, right) in zip(answers, found, strict=True)
    ]


def answer_once(
    party: Party, round: int, purpose: str, do: Callable[[Progress], list[list[Answer]]], *, given: Any
) -> list[list[Answer]]:
    """Let a party answer, possibly several times per question. JSON keeps floats bit-for-bit.

    For `given` see cached_phase.
    """

    def write(folder: FilePath, answers: list[list[Answer]]) -> None:
        rows = [[astuple(answer) for answer in each] for each in answers]
        (folder / ANSWERS).write_text(json.dumps(rows), encoding="utf-8")

    def read(folder: FilePath) -> list[list[Answer]]:
        rows = json.loads((folder / ANSWERS).read_bytes())
        return [[Answer(text, Likelihood(*likelihood), *how) for text, likelihood, *how in each] for each in rows]

    return cached_phase(party, round, purpose, do, write=write, read=read, given=given)


def in_range(party: Party, knowledge: Knowledge) -> Knowledge:
    """Return knowledge as it can be sent: with rounded log-probs, and without paths whose log-probs are invalid.

    Such paths come from a model with NaN weights. They are counted.
    """
    knowledge = replace(
        knowledge, paths=tuple(replace(path, likelihood=rounded(path.likelihood)) for path in knowledge.paths)
    )
    faults = {path.sample_id: why for path in knowledge.paths if (why := fault(path.likelihood))}
    if not faults:
        return knowledge
    finite = all(np.isfinite([p.likelihood.total, p.likelihood.minimum]).all() for p in knowledge.paths)
    party.note(
        notices=(
            f"round {knowledge.round}: {len(faults)} of {counted(len(knowledge.paths), 'path')} of "
            f"{knowledge.party} are left "
            f"out, since their log-probs are {'out of range' if finite else 'not finite'}; the first: sample "
            f"{next(iter(faults))!r}",
        )
    )
    kept = tuple(path for path in knowledge.paths if path.sample_id not in faults)
    return Knowledge(knowledge.party, knowledge.round, kept)


def part_of(study: Study, start: float, end: float) -> Study:
    """Return a study's options for the part between `start` and `end` (0..1), at least one step or token."""
    whole = {"steps": study.steps, "tokens": study.tokens}
    part: dict[str, float] = {
        key: max(1, round(end * of) - round(start * of)) for key, of in whole.items() if of is not None
    }
    if study.epochs is not None:
        part["epochs"] = study.epochs * (end - start)
    return study.model_copy(update=part)


def study(
    party: Party,
    lessons: Sequence[Lesson],
    objective: Objective,
    options: Study,
    *,
    round: int,
    phase: str,
    replayed: int = 0,
    watch: bool = False,
) -> None:
    """Let a party study `lessons`, of which the last `replayed` are its own, and record it in the report.

    With `watch`, the party keeps the losses of all other lessons (see lada.rounds.watched).
    """
    seed = seed_of(party.seed, round, phase, party.name)
    key = f"objective/{objective.title}/{party.name}"
    course = Course(
        state=party.states.get(key),
        seed=seed_of(party.seed, "objective", key),
        run_step=party.steps.get(key, 0),
        rounds_left=max(1, party.rounds - round + 1),
        watch=watch,
    )

    def do(progress: Progress) -> StudyReport:
        report = hooked(
            party,
            lambda: party.learner.study(lessons, objective, options, seed=seed, course=course, progress=progress),
        )
        check_state(key, report.state)
        return report

    def write(folder: FilePath, report: StudyReport) -> None:
        party.learner.save(folder / MODEL)
        (folder / REPORT).write_text(json.dumps(report.figures()), encoding="utf-8")
        if report.state:
            (folder / STATE).write_bytes(arrays_to_bytes(report.state))
        if report.losses:
            (folder / LOSSES).write_bytes(arrays_to_bytes(report.losses))
        write_states(party, folder)

    def read(folder: FilePath) -> StudyReport:
        party.learner = party.reopen(folder / MODEL)
        read_states(party, folder)
        state, losses = (
            bytes_to_arrays(file.read_bytes()) if (file := folder / name).exists() else {} for name in (STATE, LOSSES)
        )
        return StudyReport(**json.loads((folder / REPORT).read_bytes()), state=state, losses=losses)

    # Methods share plain fine-tuning on gold lessons; other objectives cannot be distinguished here.
    plain = [[lesson.question, lesson.chosen, lesson.weight] for lesson in lessons] if objective.plain else None
    given = [plain, options.model_dump(mode="json"), seed] if plain and not party.hooks and not watch else None
    report = cached_phase(party, round, phase, do, write=write, read=read, given=given)
    party.weights_changed(saved_as=phase)
    party.steps[key] = course.run_step + report.steps
    if report.state:
        party.states[key] = report.state
    if report.losses:
        keep_losses(party, round, lessons[: len(lessons) - replayed], report.losses)
    check_study(party.name, round, phase, report)
    figures = report.figures()
    del figures["empty"]  # a path may be empty; a study of nothing else was refused just now
    record = StudyRecord(party=party.name, round=round, phase=phase, replayed=replayed, **figures)
    if options.dp:
        spent = _spend(party, options, options.dp, len(lessons))
        record = record.model_copy(update={"epsilon": spent, "delta": options.dp.delta})
    party.note(studies=(record,))


def check_study(party: str, round: int, phase: str, report: StudyReport) -> None:
    """Raise StudyError for a study that cannot have worked: too many steps skipped, or no complete lesson."""
    where = f"{party}, study {phase!r} of round {round}"
    if report.skipped > MOST_SKIPPED * report.steps:
        raise StudyError(
            f"{where}: {report.skipped} of {counted(report.steps, 'step')} "
            f"{plural(report.skipped, 'was skipped, since its', 'were skipped, since their')} loss or gradient was "
            f"not finite, and at most {MOST_SKIPPED:.0%} may be; set a lower optimisation.learning_rate, use dtype: "
            "bfloat16 or float32 instead of float16, or check the model's weights"
        )
    for count, what, fix in (
        (report.empty, "have no text", "inspect the data with `lada tasks show`"),
        (report.cut, "are cut at the end of the model's context", "use shorter texts or a model with a longer one"),
    ):
        if report.lessons and count == report.lessons:
            raise StudyError(
                f"{where}: all {counted(count, 'lesson')} {what}, so nothing complete can be learnt; {fix}"
            )


def _spend(party: Party, options: Study, dp: Privacy, lessons: int) -> float:
    """Record a study under differential privacy, and return the total ε of all such studies."""
    had = [Release(*each) for each in json.loads(party.memory.get(RELEASES, b"[]"))]
    had.append(release(dp, lessons, options.batch_size, options.steps))
    party.memory[RELEASES] = json.dumps(had).encode()
    return epsilon(had, dp.delta)


def evaluate_party(party: Party, round: int) -> None:
    """Evaluate a party on the test questions, which it answers again if its weights have changed.

    Its paths stay in its folder.
    """
    test = party.task.test
    knowledge = while_unchanged(party, round, test, ["test"], lambda: write_paths(party, test, round, "evaluate"))
    evaluation = evaluate(
        party.name,
        round,
        test,
        knowledge.paths,
        **party.task.groups(party.name),
        steps=party.task.steps,
        agreement=None,
        seed=seed_of(party.seed, "bootstrap"),
    )
    party.note(evaluations=(evaluation,))
    seal(party.folder / f"test-paths-{round}.arrow", encode(in_range(party, knowledge)))
