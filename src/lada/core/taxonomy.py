"""Tags of methods: what knowledge a method works with, and by which rule a student learns it.

The survey of knowledge distillation of LLMs (arXiv 2402.13116, sections 3.1 and 3.2) divides methods in these two ways.
Its lists are complete here. `weights`, `records` and `averaging` are ours: a federation also averages weights, and some
kinds of methods carry only figures.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

Tag = Literal[
    "labels",
    "expansion",
    "curation",
    "feature",
    "feedback",
    "self-knowledge",
    "weights",
    "records",
    "supervised",
    "divergence",
    "reinforcement",
    "ranking",
    "averaging",
]
ELICITATION: Mapping[str, str] = {
    "labels": "The texts, rationales or answers that a teacher writes for given questions.",
    "expansion": "New samples that a teacher writes after the pattern of given ones.",
    "curation": "New samples that a teacher writes from topics or other descriptions.",
    "feature": "The inside of a model: its distributions over tokens, hidden states or vectors.",
    "feedback": "A judgement of somebody's text: a loss, a verdict, a preference or a reward.",
    "self-knowledge": "Texts that the student wrote itself.",
    "weights": "Trained weights, without any text.",
    "records": "Figures about the run, from which no model learns.",
}
"""What knowledge a method works with, by tag."""
LEARNING: Mapping[str, str] = {
    "supervised": "Fine-tuning on texts.",
    "divergence": "Matching distributions or features of a teacher.",
    "reinforcement": "Learning from rewards.",
    "ranking": "Learning that one text is better than another.",
    "averaging": "Combining weights.",
}
"""By which rule a student, or the method itself, learns, by tag."""


def check_tags(kind: str, name: str, tags: Sequence[str]) -> None:
    """Raise ValueError for a tag that is unknown or named twice."""
    if unknown := [tag for tag in tags if tag not in get_args(Tag)]:
        raise ValueError(f"{kind} {name!r}: unknown tag {unknown[0]!r}; expected some of {', '.join(get_args(Tag))}")
    if len(set(tags)) < len(tags):
        raise ValueError(f"{kind} {name!r}: a tag is named twice in {', '.join(tags)}; name each once")


def elicitation(tags: Sequence[str]) -> str:
    """Return the tags of the knowledge that a method works with, in the order of the table, as text."""
    return ", ".join(tag for tag in ELICITATION if tag in tags)


def learning(tags: Sequence[str]) -> str:
    """Return the tags of a method's learning rules, in the order of the table, as text."""
    return ", ".join(tag for tag in LEARNING if tag in tags)
