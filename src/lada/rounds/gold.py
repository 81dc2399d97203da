"""The gold text of a sample: what a party studies, judges or scores where it needs no path of its own."""

from lada.core.errors import InputError
from lada.core.terms import Sample
from lada.tasks.data import TaskData


def gold_text(task: TaskData, sample: Sample) -> str | None:
    """Return the gold rationale, with the gold answer at its end; None for a sample without an answer.

    If a rationale is missing or does not end in the gold answer, the answer is appended. A task with a verifier may
    have rationales without answers, such as programs, which are gold texts as they are. The verifier is not asked,
    since it may be remote and samples may be private.
    """
    if sample.answer is None:
        return None if task.verifier is None else sample.rationale
    text = sample.rationale or ""
    return text if task.same(task.extract(text), sample.answer) else f"{text} answer {sample.answer}".strip()


def check_gold(task: TaskData, where: str, instead: str) -> None:
    """Raise InputError if no public sample has a gold text, naming `where` these are needed and what to use `instead`.

    `where` is a key with its value.
    """
    if all(gold_text(task, sample) is None for sample in task.public):
        raise InputError(
            f"{where} needs public samples with gold answers, but none of the {len(task.public)} has one; label some "
            f"(a built-in task does with task.gold: answers), or {instead}"
        )
