"""Does what was exported answer as the party does? Greedy answers to the same prompts, compared text by text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lada.core.results import Results
from lada.core.seeds import generator
from lada.models.encoding import Encoder
from lada.models.head import head_sees, last
from lada.tasks.generated import GENERAL
from lada.tasks.rulebooks import RULEBOOKS

PROMPTS = 20
TOKENS = 128
"""The longest answer that is compared, tokens."""

Step = Callable[[Sequence[int]], np.ndarray]
"""Takes the next ids of one sequence and returns the logits [vocabulary] behind the last of them, float32."""
Start = Callable[[], Step]
"""Begins a new sequence."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a runtime wrote for one prompt, without end-of-sequence, and its logits [vocabulary] of the first step."""

    ids: tuple[int, ...]
    first: np.ndarray


@dataclass(frozen=True, slots=True)
class Trial:
    """What exported files are tried on."""

    questions: tuple[str, ...]
    prompts: tuple[tuple[int, ...], ...]
    """The questions as the party sees them, token ids."""
    encoder: Encoder
    limit: int
    """Most tokens of an answer."""
    as_trained: tuple[Written, ...]
    """By the party as it was trained: adapter apart, float32."""
    expected: tuple[Written, ...]
    """By PyTorch in float32, with the very weights that were written."""

    def alike(self, some: tuple[Written, ...], others: tuple[Written, ...]) -> int:
        """Return how many texts are the same."""
        text = self.encoder.text
        return sum(text(one.ids) == text(other.ids) for one, other in zip(some, others, strict=True))


@dataclass(frozen=True, slots=True)
class Check:
    """What a trial showed. `same` of `total` are right."""

    runtime: str
    what: str
    """`texts`, or `tensors` where the runtime could not be run."""
    total: int
    same: int
    difference: float
    """The largest: of the logits of the first step, or of the tensors."""
    as_trained: int | None = None
    """Texts that are also those of the party as it was trained, before merging and rounding; PyTorch's, with the
    weights that were written, where the runtime could not be run."""
    tokenised: int | None = None
    """Questions that the exported tokenizer and template turn into the party's own ids."""
    asked: int = 0
    """Texts that the party wrote."""

    @property
    def passed(self) -> bool:
        """Return whether all are the same, and the party's own."""
        return self.same == self.total and self.as_trained in (None, self.asked)

    def lines(self) -> list[str]:
        """Return the figures as sentences."""
        lines = [
            f"{self.same} of {self.total} greedy texts of {self.runtime} are those of PyTorch with the same weights; "
            f"logits of the first step differ by {self.difference:.1e} at most"
        ]
        if self.what == "tensors":
            lines = [
                f"{self.same} of {self.total} tensors read back by {self.runtime} are those of PyTorch; the largest "
                f"difference is {self.difference:.1e}"
            ]
        if self.as_trained is not None:
            whose = "texts of PyTorch with these weights" if self.what == "tensors" else "texts"
            lines.append(
                f"{self.as_trained} of {self.asked} {whose} are those of the party before merging and rounding"
            )
        if self.tokenised is not None:
            lines.append(f"{self.tokenised} of {self.total} questions become the party's own token ids")
        return lines


def questions_of(results: Results | None) -> tuple[str, ...]:
    """Return PROMPTS questions: the run's test questions as far as its results show them, then built-in ones."""
    shown = [sample.question for sample in results.shown] if results else []
    fallback = RULEBOOKS.draw(RULEBOOKS.world(0), GENERAL, "test", PROMPTS, generator("export"), prefix="export")
    return tuple(dict.fromkeys([*shown, *(sample.question for sample in fallback)]))[:PROMPTS]


def write_all(start: Start, prompts: Sequence[Sequence[int]], limit: int, encoder: Encoder) -> tuple[Written, ...]:
    """Return a runtime's greedy answers, each of at most `limit` tokens and within the context."""
    return tuple(_greedy(start, p, min(limit, encoder.context - len(p)), encoder.eos) for p in prompts)


def _greedy(start: Start, prompt: Sequence[int], limit: int, eos: int) -> Written:
    step = start()
    first = logits = step(prompt)
    ids: list[int] = []
    while len(ids) < limit and (token := int(logits.argmax())) != eos:
        ids.append(token)
        if len(ids) < limit:
            logits = step([token])
    return Written(tuple(ids), first)


def torch_start(model: Any) -> Start:
    """Return PyTorch as a runtime."""

    def start() -> Step:
        cache, seen = None, 0

        @torch.inference_mode()
        def step(ids: Sequence[int]) -> np.ndarray:
            nonlocal cache, seen
            seen += len(ids)
            device = model.device
            with head_sees(model, last):
                out = model(
                    input_ids=torch.tensor([list(ids)], device=device),
                    attention_mask=torch.ones((1, seen), dtype=torch.long, device=device),
                    past_key_values=cache,
                    use_cache=True,
                )
            cache = out.past_key_values
            return out.logits[0, -1].float().cpu().numpy()

        return step

    return start


def compare(trial: Trial, start: Start, runtime: str, tokenised: int | None) -> Check:
    """Run the trial in a runtime and return how it went."""
    found = write_all(start, trial.prompts, trial.limit, trial.encoder)
    gaps = [np.abs(mine.first - other.first).max() for mine, other in zip(found, trial.expected, strict=True)]
    same, as_trained = (trial.alike(found, others) for others in (trial.expected, trial.as_trained))
    return Check(runtime, "texts", len(found), same, float(max(gaps)), as_trained, tokenised, len(found))
