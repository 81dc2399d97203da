"""Labels have a prompt of their own, so that answers without reasoning do not overwrite reasoning."""

from collections.abc import Sequence
from dataclasses import replace

from lada.core.terms import Sample


def ask_for_labels(samples: Sequence[Sample], prompt: str | None) -> tuple[Sample, ...]:
    """Return samples; those with a gold answer but no rationale use `prompt`. None leaves all as they are.

    `{question}` in a prompt is replaced by the sample's question.
    """
    if prompt is None:
        return tuple(samples)
    return tuple(
        sample
        if sample.answer is None or sample.rationale
        else replace(sample, question=prompt.replace("{question}", sample.question))
        for sample in samples
    )
