"""Options that several hosts share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from lada.aggregators.base import AGGREGATORS, Aggregator
from lada.core.bounds import Positive
from lada.core.choice import MethodChoice
from lada.core.errors import InputError
from lada.core.registry import Method, Options
from lada.core.validation import validate

KnowledgeKind = Literal["paths", "labels"]
Average = Literal["logits", "probabilities"]


class Replay(Options):
    """Shares (0..1) of a study's lessons that are replayed, so that nothing is forgotten."""

    private: float = Field(ge=0, lt=1)
    """Of private samples, which a server has none of."""
    paths: float = Field(ge=0, lt=1)
    """Of the party's own paths on public questions, as far as they can be trusted."""
    general: float = Field(ge=0, lt=1)
    """Of questions that need skill alone, where the task has some."""
    least: int = Field(default=32, ge=0, le=1_000_000)
    """Lessons that a study of something new has at least, made up with replay as far as there is some: a budget of
    tokens or steps that is spent on a handful of lessons destroys a model."""
    alone: bool = False
    """Replay alone where nothing is new, for the whole budget: for comparisons in which everybody is to study equally
    much. Else such a study is left out, which costs nothing and keeps the model as it is."""

    @model_validator(mode="after")
    def _shares(self) -> Replay:
        shares = (self.private, self.paths, self.general)
        if sum(shares) >= 1:
            raise ValueError(f"private, paths, general are {shares}: expected shares from 0 that add up to below 1")
        return self


CLIENT_REPLAY = Replay(private=0.25, paths=0.1, general=0.1)
SERVER_REPLAY = Replay(private=0.0, paths=0.5, general=0.3)
"""What hosts replay by default, alike so that they can be compared."""


def _asks(prompt: str) -> str:
    if "{question}" not in prompt:
        raise ValueError(f"{prompt!r} holds no '{{question}}'; put it where the question belongs")
    return prompt


Prompt = Annotated[str, AfterValidator(_asks)]
"""What a party is asked: a text with `{question}` in it."""


class LabelOptions(Options):
    """How those public questions are asked whose gold text is an answer without reasoning."""

    label_prompt: Prompt | None = None
    """What a party is asked where the gold text is a bare answer, such as `[label] {question}`: by the same question
    that asks for a path, bare answers would take the place of its reasoning. None: the question as it is, as in the
    papers, whose test questions are answered barely too."""


class AveragingOptions(Options):
    """How adapters become one."""

    aggregation: str | MethodChoice = "mean"
    """The aggregator, by name: the mean by private samples as in the paper, within bounds, or another; `lada methods`
    lists them. One with options of its own: `{name: …, options: {…}}`."""
    malicious: int = Field(default=1, ge=0, le=1_000_000)
    """How many clients may be hostile. Of three clients or more the mean stays, coordinate by coordinate, within the
    range that is left without so many smallest and largest values; of three that is the median. 0 with `clip: null`:
    the mean of the papers."""
    clip: float | None = Field(default=3.0, ge=1, le=1e6, allow_inf_nan=False)
    """With the mean: a client's update is clipped to so many times the round's median norm, and its claimed samples to
    so many times the median claim. None: neither."""

    @field_validator("aggregation")
    @classmethod
    def _registered(cls, named: str | MethodChoice) -> str | MethodChoice:
        registered(named)
        return named

    @property
    def aggregator(self) -> tuple[str, Aggregator]:
        """The name of what makes one of several adapters, and itself; `malicious` and `clip` are of its options."""
        named = registered(self.aggregation)
        return named.method.name, named.made(malicious=self.malicious, clip=self.clip)


@dataclass(frozen=True, slots=True)
class Registered:
    """An aggregator that is named, and the options that are named beside it."""

    method: Method[Aggregator]
    options: Options

    def made(self, **defaults: Any) -> Aggregator:
        """Return it with those `defaults` that are among its options, where these are not named themselves."""
        had = {name: value for name, value in defaults.items() if name in self.method.options.model_fields}
        return self.method.make(self.options.model_copy(update={**had, **self.options.model_dump(exclude_unset=True)}))


def registered(named: str | MethodChoice) -> Registered:
    """Return an aggregator that is named. Raises ValueError, saying what is wrong with its name or options."""
    choice = MethodChoice(name=named) if isinstance(named, str) else named
    try:
        method = AGGREGATORS.get(choice.name)
        return Registered(method, validate(method.options, choice.options, "options"))
    except InputError as error:
        raise ValueError(str(error)) from None


class SecureOptions(AveragingOptions):
    """How adapters become one, in clear or without the server seeing any of them."""

    secure_aggregation: bool = False
    """The server learns the clients' average and no single adapter; see lada.rounds.secure. Needs three clients,
    `aggregation: mean`, and `malicious: 0` with `clip: null`, since it cannot look at what it does not see."""
    update_norm: Positive = 100.0
    """With secure aggregation: the norm to which each client clips its own update, in place of `clip`."""

    @model_validator(mode="after")
    def _sees_no_single_update(self) -> SecureOptions:
        if not self.secure_aggregation:
            return self
        wanted = {"aggregation": "mean", "malicious": 0, "clip": None}
        if wrong := [name for name, value in wanted.items() if getattr(self, name) != value]:
            raise ValueError(
                f"secure_aggregation is true and {wrong[0]} is {getattr(self, wrong[0])!r}, for which the server would "
                "have to see single updates; expected aggregation: mean, malicious: 0 and clip: null (each client "
                "clips its own update to update_norm), or secure_aggregation: false"
            )
        return self


class SharedSlmOptions(LabelOptions, AveragingOptions):
    """Options of hosts whose clients share one SLM. All have the same model, tuned by LoRA."""

    slm_replay: Replay = CLIENT_REPLAY.model_copy(update={"private": 0.0})
    """What the shared SLM replays while it is taught. It has no private samples."""
