"""How a party gets its learner: the registry of kinds of learners, and a model of any kind by its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import Discriminator, Field, Tag

from lada.core.choice import MethodChoice
from lada.core.registry import Registry
from lada.core.terms import Verb
from lada.models.api_options import ApiModel
from lada.models.base import Learner
from lada.models.learners import LearnerOptions
from lada.models.options import ModelOptions


class Opener(Protocol):
    """A kind of learner with its options, a LearnerOptions. Creating one loads nothing."""

    def check(self) -> None:
        """Raise InputError if something that is quick to check is missing: files, a package, the key of an API."""
        ...

    def open(self, base: Path, *, init_seed: int, saved: Path | None) -> Learner:
        """Return the learner.

        Relative paths start at `base`. `init_seed` seeds weights that are drawn at random. `saved` is a folder that the
        learner's `save` wrote; the learner continues from it, bit for bit. Raises InputError if something is missing.
        """
        ...


LEARNERS: Registry[Opener] = Registry("learner", "lada.learners")


class OtherModel(LearnerOptions):
    """A learner of another kind: `{learner: NAME, options: {…}}`, for example from a plug-in."""

    learner: str
    """The learner's registered name. `lada methods` lists all names."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The learner's options. Options left out keep their defaults."""

    @property
    def choice(self) -> MethodChoice:
        """The learner as a choice of a method, in the configuration's form."""
        return MethodChoice(name=self.learner, options=self.options)

    def read(self) -> LearnerOptions:
        """Return the options, parsed as the learner's own."""
        return LEARNERS.get(self.learner).read(self.options)  # pyright: ignore[reportReturnType]

    @property
    def able(self) -> frozenset[Verb]:
        """See LearnerOptions."""
        return self.read().able

    @property
    def limited_by(self) -> str:
        """See LearnerOptions."""
        return self.read().limited_by

    @property
    def remote(self) -> bool:
        """See LearnerOptions."""
        return self.read().remote

    @property
    def source(self) -> str | None:
        """See LearnerOptions."""
        return self.read().source

    @property
    def texts(self) -> tuple[str, ...]:
        """See LearnerOptions."""
        return self.read().texts

    @property
    def drawn_with(self) -> str:
        """See LearnerOptions."""
        return self.read().drawn_with

    @property
    def labels_told(self) -> tuple[str, ...] | None:
        """See LearnerOptions."""
        return self.read().labels_told

    def tuned(self, *, full: bool, ranks: bool) -> dict[str, Any]:
        """See LearnerOptions."""
        return {"learner": self.learner, **self.read().tuned(full=full, ranks=ranks)}


def _form(value: Any) -> str:
    """Return the form of a model."""
    if not isinstance(value, Mapping):
        return type(value).__name__ if isinstance(value, LearnerOptions) else "ModelOptions"
    return "ApiModel" if "api" in value else "OtherModel" if "learner" in value else "ModelOptions"


def _form_without_api(value: Any) -> str:
    form = _form(value)
    return "ModelOptions" if form == "ApiModel" else form


ServerModel = Annotated[
    Annotated[ModelOptions, Tag("ModelOptions")]
    | Annotated[ApiModel, Tag("ApiModel")]
    | Annotated[OtherModel, Tag("OtherModel")],
    Discriminator(_form),
]
"""A model in Hugging Face format, `{api: …}` for a model behind an API, or `{learner: NAME}` for one of another kind.
Each form's faults are reported separately."""
ClientModel = Annotated[
    Annotated[ModelOptions, Tag("ModelOptions")] | Annotated[OtherModel, Tag("OtherModel")],
    Discriminator(_form_without_api),
]
"""The same without an API: a client's learner must be able to study."""


def opener(model: LearnerOptions) -> Opener:
    """Return the opener of a model's learner, for any form of model."""
    if isinstance(model, OtherModel):
        return LEARNERS.make(model.learner, model.options)
    (method,) = (method for method in LEARNERS if method.options is type(model))
    return method.make(model)
