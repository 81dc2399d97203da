"""Performance-guided knowledge distillation: new questions where the students fail (arXiv 2411.05045).

After each round the clients answer held-out public samples, and some that they learn from. In the next round the LLM
writes new questions. Its prompt shows it a report and three kinds of examples:

    report           accuracy, and per class precision, recall and F1, of the held-out samples
    correct          samples that the students answer rightly
    incorrect        samples that they answer wrongly
    hard negatives   samples that they answer wrongly with the highest confidence

The loop ends after `patience` rounds in which the validation error, the share of wrong answers, found no new minimum.

Our reading, from two independent full-text summaries: the paper's student is a classifier, and its loop returns the
student with the lowest validation loss. Here students are the clients' SLMs, and they continue with the weights of the
last round. The paper's 32 questions come in one call; ours may take several.
"""

from collections.abc import Mapping, Sequence
from math import ceil, isfinite
from typing import Literal

import numpy as np
from pydantic import Field

from lada.augmenters.base import AUGMENTERS, Augmenter, Draft, Generating, Kept, Outcome, Prompt, Request, View
from lada.core.needs import State, needs
from lada.core.seeds import generator
from lada.core.terms import Sample, Verb
from lada.tasks.drafts import prompt

Checked = Sequence[tuple[Outcome, Sample]]
"""Outcomes with their samples."""
CLASSES, NAME = 50, 60
"""Maximum number of classes in a report, and of characters in the name of one."""
HEADINGS = ("Students answer these correctly.", "Students answer these wrongly.", "Students are sure of wrong answers:")


class PgkdOptions(Generating):
    """Options of performance-guided knowledge distillation."""

    validation: float = Field(default=0.2, gt=0, lt=1)
    """Share of the public samples with gold answers that are held out for validation. No party studies them."""
    probed: int = Field(default=64, ge=1, le=100_000)
    """Number of other public samples that each client answers after a round, drawn again each time."""
    correct: int = Field(default=16, ge=0, le=1000)
    """Correct samples that a prompt shows."""
    incorrect: int = Field(default=16, ge=0, le=1000)
    """Incorrect samples that a prompt shows."""
    hard: int = Field(default=16, ge=0, le=1000)
    """Hard negatives that a prompt shows."""
    report: bool = True
    """Whether a prompt contains the report."""
    classes: Literal["domains", "answers"] = "domains"
    """What the classes of the report are: domains, or gold answers, as in classification."""
    patience: int = Field(default=5, ge=1, le=100_000)
    """Rounds without a new minimum of the validation error after which no more questions are asked for."""


@AUGMENTERS.register(
    "pgkd",
    options=PgkdOptions,
    paper="arXiv 2411.05045",
    status="our reading",
    level="second-hand",
    needs=needs({Verb.ANSWER, Verb.EXPLAIN}, {Verb.ANSWER}),
    tags=("expansion", "feedback", "supervised"),
)
class Pgkd(Augmenter[PgkdOptions]):
    """The LLM writes questions like those that students get wrong, until the validation error stops falling."""

    labels = True

    def __init__(self, options: PgkdOptions) -> None:
        self.options = options
        self.held_out, self.probed = options.validation, options.probed
        self.shown = options.correct + options.incorrect + options.hard

    def init(self, seed: int) -> State:
        """Return the state: the validation errors so far, float64 [rounds]."""
        return {"errors": np.zeros(0)}

    def ask(self, state: State, view: View) -> tuple[State, Request]:
        """See Augmenter.ask. Without outcomes of the round before, as in round 1, it asks for nothing."""
        held = {sample.id: sample for sample in view.validation}
        outcomes = [each for client in sorted(view.outcomes) for each in view.outcomes[client]]
        checked = [(each, held[each.sample_id]) for each in outcomes if each.sample_id in held]
        if not checked:
            return state, Request()
        error = 1 - float(np.mean([each.right is True for each, _ in checked]))
        errors = np.append(state["errors"], error)
        figures = {"validation_error": error, "stopped": float(stopped(errors, self.options.patience))}
        if figures["stopped"]:
            return {"errors": errors}, Request(diagnostics=figures)
        by_id = {sample.id: sample for sample in view.samples}
        tried = [each for each in outcomes if each.sample_id in by_id]
        hard = hard_negatives(tried)
        figures["hard_negatives"] = float(len(hard))
        report = write_report(checked, self.options.classes) if self.options.report else ""
        return {"errors": errors}, Request(tuple(self._prompts(view, by_id, tried, hard, report)), (), figures)

    def _prompts(
        self, view: View, by_id: Mapping[str, Sample], tried: Sequence[Outcome], hard: Sequence[Outcome], report: str
    ) -> list[Prompt]:
        options, prompts = self.options, []
        right = sorted({each.sample_id for each in tried if each.right})
        wrong = sorted({each.sample_id for each in tried if each.right is False})
        hardest = list(dict.fromkeys(each.sample_id for each in hard))[: options.hard]
        for number in range(ceil(options.new / options.per_call)):
            rng = generator(view.seed, "shots", number)
            groups = [
                [right[place] for place in rng.permutation(len(right))[: options.correct]],
                [wrong[place] for place in rng.permutation(len(wrong))[: options.incorrect]],
                hardest,
            ]
            told = zip(HEADINGS, groups, strict=True)
            sections = [(heading, [by_id[id] for id in ids]) for heading, ids in told if ids]
            count = min(options.per_call, options.new - number * options.per_call)
            text = prompt(options.instruction, [(report, ()), *sections], count)
            prompts.append(Prompt(text, tuple(dict.fromkeys(id for ids in groups for id in ids)), count))
        return prompts

    def keep(self, state: State, drafts: Sequence[Draft], calibration: Sequence[Draft]) -> tuple[State, Kept]:
        """See Augmenter.keep. It keeps every draft that has passed the shared checks."""
        return state, Kept(tuple(range(len(drafts))))


def hard_negatives(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes that are known to be wrong and have a confidence, by falling confidence."""
    wrong = [each for each in outcomes if each.right is False and isfinite(each.confidence)]
    return sorted(wrong, key=lambda each: (-each.confidence, each.sample_id))


def stopped(errors: Sequence[float] | np.ndarray, patience: int) -> bool:
    """Return whether the last `patience` errors, round by round, contain no new minimum."""
    return len(errors) - 1 - int(np.argmin(errors)) >= patience if len(errors) else False


def write_report(checked: Checked, classes: Literal["domains", "answers"]) -> str:
    """Return the report as text: accuracy, then a line for each of the CLASSES classes with the most samples."""
    accuracy = sum(outcome.right is True for outcome, _ in checked) / len(checked)
    rows = by_domain(checked) if classes == "domains" else by_answer(checked)
    largest = sorted(rows, key=lambda name: (-rows[name]["samples"], name))
    lines = [
        f"{name[:NAME]}: " + ", ".join(f"{figure} {value:.3g}" for figure, value in rows[name].items())
        for name in largest[:CLASSES]
    ]
    more = [f"{len(rows) - CLASSES} more classes"] if len(rows) > CLASSES else []
    return "\n".join([f"Validation accuracy {accuracy:.3g}.", *lines, *more])


def by_domain(checked: Checked) -> dict[str, dict[str, float]]:
    """Return number and accuracy of the samples of each domain."""
    rights: dict[str, list[bool]] = {}
    for outcome, sample in checked:
        rights.setdefault(sample.domain or "all", []).append(outcome.right is True)
    return {name: {"samples": len(each), "accuracy": sum(each) / len(each)} for name, each in rights.items()}


def by_answer(checked: Checked) -> dict[str, dict[str, float]]:
    """Return number, precision, recall and F1 for each gold answer as a class; a figure without a sample is 0."""
    pairs = [(sample.answer if outcome.right else outcome.answer, sample.answer) for outcome, sample in checked]
    rows = {}
    for name in sorted({gold for _, gold in pairs if gold is not None}):
        hits = sum(given == gold == name for given, gold in pairs)
        given, gold = (sum(pair[side] == name for pair in pairs) for side in (0, 1))
        rows[name] = {
            "samples": gold,
            "precision": hits / max(given, 1),
            "recall": hits / max(gold, 1),
            "F1": 2 * hits / max(given + gold, 1),
        }
    return rows
