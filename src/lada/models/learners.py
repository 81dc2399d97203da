"""The options of learners of any kind: what a configuration's `model` tells before anything is loaded."""

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
