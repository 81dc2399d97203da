"""Checks that an export answers as the party does: compares greedy answers to the same prompts, text by text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lada.core.plural import counted, plural
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
"""Takes the next ids of one sequence and returns the logits [vocabulary] after the last of them, float32."""
Start = Callable[[], Step]
"""Begins a new sequence."""
Tell = Callable[[str, int, int], None]
"""Receives the current step, how much of it is done, and how much there is."""


def silent(what: str, done: int, total: int) -> None:
    """A Tell that reports nothing."""


@dataclass(frozen=True, slots=True)
class Written:
    """A runtime's answer to one prompt, without end-of-sequence, and its logits [vocabulary] of the first step."""

    ids: tuple[int, ...]
    first: np.ndarray


@dataclass(frozen=True, slots=True)
class Trial:
    """The prompts that exported files are tried on, with the expected answers."""

    questions: tuple[str, ...]
    prompts: tuple[tuple[int, ...], ...]
    """The questions as the party sees them, token ids."""
    encoder: Encoder
    limit: int
    """The most tokens of an answer."""
    as_trained: tuple[Written, ...]
    """The answers of the party as it was trained: with a separate adapter, in float32."""
    expected: tuple[Written, ...]
    """The answers of PyTorch in float32, with exactly the weights that were written."""
    tell: Tell = silent

    def answers(self, start: Start, runtime: str) -> tuple[Written, ...]:
        """Return a runtime's answers to the prompts."""
        return write_all(start, self.prompts, self.limit, self.encoder, runtime, self.tell)

    def alike(self, some: tuple[Written, ...], others: tuple[Written, ...]) -> int:
        """Return how many texts are equal."""
        text = self.encoder.text
        return sum(text(one.ids) == text(other.ids) for one, other in zip(some, others, strict=True))


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of a trial: `same` of `total` texts or tensors are equal."""

    runtime: str
    what: str
    """`texts`, or `tensors` if the runtime could not be run."""
    total: int
    same: int
    difference: float
    """The largest difference, of the logits of the first step or of the tensors."""
    as_trained: int | None = None
    """Texts that equal those of the party as it was trained, before merging and rounding. If the runtime could not be
    run, these are PyTorch's texts with the weights that were written."""
    tokenised: int | None = None
    """Questions that the exported tokenizer and template turn into the party's token ids."""
    asked: int = 0
    """The number of texts that the party wrote."""
    lossy: bool = False
    """Whether the runtime computes with fewer bits than PyTorch; if so, different texts do not count as an error."""

    @property
    def passed(self) -> bool:
        """Return whether all texts or tensors are equal and match the party's own, as far as they must."""
        if self.lossy and self.what == "texts":
            return True
        return self.same == self.total and self.as_trained in (None, self.asked)

    def lines(self) -> list[str]:
        """Return the outcome as sentences."""
        lines = [
            f"{self.same} of {counted(self.total, 'greedy text')} of {self.runtime} "
            f"{_those(self.same)} of PyTorch with the same weights; "
            f"logits of the first step differ by {self.difference:.1e} at most"
        ]
        if self.what == "tensors":
            lines = [
                f"{self.same} of {counted(self.total, 'tensor')} read back by {self.runtime} {_those(self.same)} of "
                "PyTorch; the largest "
                f"difference is {self.difference:.1e}"
            ]
        if self.as_trained is not None:
            whose = f"{plural(self.asked, 'text')}{' of PyTorch with these weights' if self.what == 'tensors' else ''}"
            lines.append(
                f"{self.as_trained} of {self.asked} {whose} {_those(self.as_trained)} of the party before merging "
                "and rounding"
            )
        if self.tokenised is not None:
            lines.append(
                f"{self.tokenised} of {counted(self.total, 'question')} "
                f"{plural(self.tokenised, 'becomes', 'become')} the party's own token ids"
            )
        return lines


def questions_of(results: Results | None) -> tuple[str, ...]:
    """Return PROMPTS questions: test questions that the run's results show, filled up with built-in ones."""
    shown = [sample.question for sample in results.shown] if results else []
    fallback = RULEBOOKS.draw(RULEBOOKS.world(0), GENERAL, "test", PROMPTS, generator("export"), prefix="export")
    return tuple(dict.fromkeys([*shown, *(sample.question for sample in fallback)]))[:PROMPTS]


def write_all(
    start: Start, prompts: Sequence[Sequence[int]], limit: int, encoder: Encoder, runtime: str, tell: Tell
) -> tuple[Written, ...]:
    """Return the greedy answers of `runtime`, each with at most `limit` tokens and within the context."""
    what, written = f"answers of {runtime}", []
    for prompt in prompts:
        tell(what, len(written), len(prompts))
        written.append(_greedy(start, prompt, min(limit, encoder.context - len(prompt)), encoder.ends))
    tell(what, len(written), len(prompts))
    return tuple(written)


def _greedy(start: Start, prompt: Sequence[int], limit: int, ends: Sequence[int]) -> Written:
    step = start()
    first = logits = step(prompt)
    ids: list[int] = []
    while len(ids) < limit and (token := int(logits.argmax())) not in ends:
        ids.append(token)
        if len(ids) < limit:
            logits = step([token])
    return Written(tuple(ids), first)


def torch_start(model: Any) -> Start:
    """Return PyTorch as a runtime. If the model cannot continue from a cache, each step reads the whole text again."""
    goes_on = _goes_on(model)

    def start() -> Step:
        cache: Any = None
        seen: list[int] = []

        @torch.inference_mode()
        def step(ids: Sequence[int]) -> np.ndarray:
            nonlocal cache
            seen.extend(ids)
            given, more = (seen, {}) if cache is None else (list(ids), {"past_key_values": cache})
            with head_sees(model, last):
                out = model(
                    input_ids=torch.tensor([given], device=model.device),
                    attention_mask=torch.ones((1, len(seen)), dtype=torch.long, device=model.device),
                    use_cache=goes_on,
                    **more,
                )
            cache = out.past_key_values if goes_on else None
            return out.logits[0, -1].float().cpu().numpy()

        return step

    return start


@torch.inference_mode()
def _goes_on(model: Any) -> bool:
    """Return whether a model computes the same from its cache as from the whole text, tested on three tokens."""
    ids, seen = torch.arange(3, device=model.device)[None], torch.ones((1, 3), dtype=torch.long, device=model.device)
    whole = model(input_ids=ids, attention_mask=seen, use_cache=False).logits[0, -1]
    try:
        cache = model(input_ids=ids[:, :2], attention_mask=seen[:, :2], use_cache=True).past_key_values
        given = {"past_key_values": cache, "use_cache": True}
        last = model(input_ids=ids[:, 2:], attention_mask=seen, **given).logits[0, -1]
    except Exception:  # the errors of a hundred architectures have no common base
        return False
    return cache is not None and bool((last - whole).abs().max() <= 1e-3 * whole.abs().max())


def compare(trial: Trial, start: Start, runtime: str, tokenised: int | None) -> Check:
    """Run the trial in a runtime and return its outcome."""
    found = trial.answers(start, runtime)
    gaps = [np.abs(mine.first - other.first).max() for mine, other in zip(found, trial.expected, strict=True)]
    same, as_trained = (trial.alike(found, others) for others in (trial.expected, trial.as_trained))
    return Check(runtime, "texts", len(found), same, float(max(gaps)), as_trained, tokenised, len(found))


def _those(number: int) -> str:
    return plural(number, "is that", "are those")
