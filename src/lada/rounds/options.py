"""Options shared by several hosts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from lada.aggregators.base import AGGREGATORS, Aggregator
from lada.core.bounds import MOST_K, Positive, Share, Temperature
from lada.core.choice import MethodChoice
from lada.core.errors import InputError
from lada.core.registry import Method, Options
from lada.core.validation import validate

KnowledgeKind = Literal["paths", "labels"]
Average = Literal["logits", "probabilities"]


class Replay(Options):
    """Shares (0 to 1) of a study's lessons that are replayed against forgetting."""

    private: float = Field(ge=0, lt=1)
    """Share of private samples. A server has none."""
    paths: float = Field(ge=0, lt=1)
    """Share of the party's own paths on public questions, as far as they can be trusted."""
    general: float = Field(ge=0, lt=1)
    """Share of general questions, which need skill but no domain knowledge, if the task has any."""
    least: int = Field(default=32, ge=0, le=1_000_000)
    """Minimum number of lessons per distillation study. Replayed lessons make up the difference. A full budget spent on
    only a few lessons would ruin the model."""
    alone: bool = False
    """Study replayed lessons for the whole budget if there is nothing new, so that comparisons have equal study
    budgets. Otherwise such a study is skipped, and the model stays as it is."""

    @model_validator(mode="after")
    def _shares(self) -> Replay:
        shares = (self.private, self.paths, self.general)
        if sum(shares) >= 1:
            raise ValueError(f"private, paths, general are {shares}: expected shares of at least 0 with a sum below 1")
        return self


CLIENT_REPLAY = Replay(private=0.25, paths=0.1, general=0.1)
SERVER_REPLAY = Replay(private=0.0, paths=0.5, general=0.3)
"""Default replay of all hosts, equal so that hosts can be compared."""


def _asks(prompt: str) -> str:
    if "{question}" not in prompt:
        raise ValueError(f"{prompt!r} holds no '{{question}}'; put it where the question belongs")
    return prompt


Prompt = Annotated[str, AfterValidator(_asks)]
"""The prompt for a party: a text that contains `{question}`."""


def _demonstrates(prompt: str) -> str:
    if "{demonstration}" not in prompt:
        raise ValueError(f"{prompt!r} holds no '{{demonstration}}'; put it where the gold rationale belongs")
    return prompt


class SelfContext(Options):
    """How a client teaches itself on its private questions: SDFT (arXiv 2601.19897).

    It answers each question, and then learns the distribution that it would have had with the gold rationale in view.
    """

    weight: float = Field(default=1.0, gt=0, le=1)
    """Weight of its own answers, above 0 and at most 1. The gold texts have the rest; at 1, they are not studied."""
    k: int = Field(default=32, ge=2, le=MOST_K)
    """Number of likeliest tokens per position that it learns, with the tail as one more."""
    beta: Share = 0.0
    """β of the generalised Jensen-Shannon divergence, from 0 to 1: 0 is the forward KL, 1 the reverse KL."""
    temperature: Temperature = 1.0
    """Sampling temperature of its answers; 0 is greedy."""
    prompt: Annotated[Prompt, AfterValidator(_demonstrates)] = (
        "{question}\n\nHere is an example of a good answer:\n{demonstration}\n\nNow give an answer of your own."
    )
    """What it sees as a teacher: a text that contains `{question}` and `{demonstration}`, the gold rationale."""

    def shown(self, question: str, demonstration: str) -> str:
        """Return the prompt for a question and its gold text."""
        texts = {"question": question, "demonstration": demonstration}
        return re.sub(r"\{(question|demonstration)\}", lambda found: texts[found[1]], self.prompt)


class LabelOptions(Options):
    """How to ask public questions whose gold text is an answer without reasoning."""

    label_prompt: Prompt | None = None
    """Prompt for public questions whose gold text is a bare answer, such as `[label] {question}`. With the prompt that
    asks for a path, bare answers would displace the model's reasoning. None uses the question as it is, as the papers
    do."""


class AveragingOptions(Options):
    """How adapters are aggregated."""

    aggregation: str | MethodChoice = "mean"
    """The aggregator, by name; `lada methods` lists them. `mean` weights clients by their private samples, as in the
    paper, and bounds the result. To set an aggregator's options, write `{name: …, options: {…}}`."""
    malicious: int = Field(default=1, ge=0, le=1_000_000)
    """Number of clients that may be hostile. With three or more clients, each coordinate of the mean is clamped to the
    range left without that many smallest and largest values. With three clients and `malicious: 1`, that is the median.
    0 together with `clip: null` gives the papers' mean."""
    clip: float | None = Field(default=3.0, ge=1, le=1e6, allow_inf_nan=False)
    """With the mean: a client's update is clipped to this multiple of the round's median norm. Its claimed sample count
    is clipped to the same multiple of the median count. None disables both."""

    @field_validator("aggregation")
    @classmethod
    def _registered(cls, named: str | MethodChoice) -> str | MethodChoice:
        registered(named)
        return named

    @property
    def aggregator(self) -> tuple[str, Aggregator]:
        """The name of the aggregator and the aggregator itself, with `malicious` and `clip` among its options."""
        named = registered(self.aggregation)
        return named.method.name, named.made(malicious=self.malicious, clip=self.clip)


@dataclass(frozen=True, slots=True)
class Registered:
    """A named aggregator and the options given with it."""

    method: Method[Aggregator]
    options: Options

    def made(self, **defaults: Any) -> Aggregator:
        """Return the aggregator. `defaults` fill those of its options that are not set explicitly."""
        had = {name: value for name, value in defaults.items() if name in self.method.options.model_fields}
        return self.method.make(self.options.model_copy(update={**had, **self.options.model_dump(exclude_unset=True)}))


def registered(named: str | MethodChoice) -> Registered:
    """Return a named aggregator. Raises ValueError if its name or options are wrong."""
    choice = MethodChoice(name=named) if isinstance(named, str) else named
    try:
        method = AGGREGATORS.get(choice.name)
        return Registered(method, validate(method.options, choice.options, "options"))
    except InputError as error:
        raise ValueError(str(error)) from None


class SecureOptions(AveragingOptions):
    """How adapters are aggregated, in the clear or by secure aggregation."""

    secure_aggregation: bool = False
    """The server learns the clients' average but no single adapter; see lada.rounds.secure. This needs at least three
    clients, `aggregation: mean`, `malicious: 0` and `clip: null`, since the server cannot inspect single updates."""
    update_norm: Positive = 100.0
    """With secure aggregation: each client clips its own update to this norm, instead of `clip`."""

    @model_validator(mode="after")
    def _sees_no_single_update(self) -> SecureOptions:
        if not self.secure_aggregation:
            return self
        wanted = {"aggregation": "mean", "malicious": 0, "clip": None}
        if wrong := [name for name, value in wanted.items() if getattr(self, name) != value]:
            raise ValueError(
                f"secure_aggregation is true and {wrong[0]} is {getattr(self, wrong[0])!r}, which requires the server "
                "to see single updates; expected aggregation: mean, malicious: 0 and clip: null (each client clips "
                "its own update to update_norm), or secure_aggregation: false"
            )
        return self


def check_sparse(codec: str, options: AveragingOptions) -> None:
    """Raise InputError for aggregation that is misled by a codec that leaves out coordinates of what clients send."""
    name, aggregator = options.aggregator
    if isinstance(options, SecureOptions) and options.secure_aggregation:
        raise InputError(
            f"codecs: {codec!r} leaves out coordinates of clients' adapters, but host.options.secure_aggregation adds "
            "up whole ones; expected codec options up: 1.0, or secure_aggregation: false"
        )
    if aggregator.any_rank:
        raise InputError(
            f"codecs: {codec!r} sends changes of the newest adapter, but with {name!r} clients of other ranks start "
            "from other weights; expected codec options up: 1.0, or host.options.form: average"
        )
    if aggregator.by_coordinate:
        raise InputError(
            f"codecs: {codec!r} leaves out coordinates of clients' adapters, but host.options.aggregation {name!r} "
            "compares clients coordinate by coordinate, where most would seem unchanged; expected "
            "host.options.malicious: 0 with aggregation: mean or fedopt, or codec options up: 1.0"
        )


class SharedSlmOptions(LabelOptions, AveragingOptions):
    """Options of hosts whose clients share one SLM, tuned by LoRA."""

    slm_replay: Replay = CLIENT_REPLAY.model_copy(update={"private": 0.0})
    """What the shared SLM replays while it is taught. It has no private samples."""
