"""The options of learners of any kind: what a configuration's `model` tells before anything is loaded."""

from typing import Any

from lada.core.errors import InputError
from lada.core.registry import Options
from lada.core.terms import Verb


class LearnerOptions(Options):
    """Base of the options of learners. The defaults describe one that can do everything and has no files."""

    @property
    def able(self) -> frozenset[Verb]:
        """The verbs that the learner may be asked for."""
        return frozenset(Verb)

    @property
    def limited_by(self) -> str:
        """The keys that limit `able`, for messages."""
        return "model"

    @property
    def remote(self) -> bool:
        """Whether its weights are elsewhere, so that it cannot be trained."""
        return False

    @property
    def source(self) -> str | None:
        """Where its weights come from: a folder, a hub id or `zoo:NAME`; None if it has no files."""
        return None

    @property
    def texts(self) -> tuple[str, ...]:
        """Texts that accompany every question to the model. They are public."""
        return ()

    @property
    def drawn_with(self) -> str:
        """A name that parties share who draw the same weights; empty if each party draws its own."""
        return ""

    @property
    def labels_told(self) -> tuple[str, ...] | None:
        """The labels that are all its answers; None if it answers with any text."""
        return None

    def tuned(self, *, full: bool, ranks: bool) -> dict[str, Any]:
        """Return what learners must have in common for their trained weights to be averaged, by key.

        `full` allows all weights of a model, not only an adapter. `ranks` allows adapters of different ranks. Raises
        InputError, in words that follow the learner's name, if its weights cannot be averaged.
        """
        raise InputError(
            "has another kind of learner, with weights of its own; expected the same model in Hugging Face format for "
            "all clients"
        )
