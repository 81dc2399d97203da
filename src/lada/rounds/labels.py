"""Labels are asked for by a prompt of their own, so that answers without reasoning do not overwrite reasoning."""

from collections.abc import Sequence
from dataclasses import replace

from lada.core.terms import Sample


def ask_for_labels(samples: Sequence[Sample], prompt: str | None) -> tuple[Sample, ...]:
    """Return samples, of which those with a gold answer and no rationale are asked by `prompt`; None: as they are.

    The `{question}` in a prompt is replaced by the sample's.
    """
    if prompt is None:
        return tuple(samples)
    return tuple(
        sample
        if sample.answer is None or sample.rationale
        else replace(sample, question=prompt.replace("{question}", sample.question))
        for sample in samples
    )
