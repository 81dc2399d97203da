"""What a configuration's `model` says of a learner, whatever kind of learner it is, before anything is loaded."""

from lada.core.registry import Options
from lada.core.terms import Verb


class LearnerOptions(Options):
    """Base of the options of learners, with what holds of one that can do everything and lies in no files."""

    @property
    def able(self) -> frozenset[Verb]:
        """What the learner may be asked for."""
        return frozenset(Verb)

    @property
    def limited_by(self) -> str:
        """Which keys say so, for people."""
        return "model"

    @property
    def remote(self) -> bool:
        """Whether its weights are elsewhere, so that nothing can be taught to it."""
        return False

    @property
    def source(self) -> str | None:
        """Where its weights are from: a folder, a hub id or `zoo:NAME`; None where no files hold them."""
        return None

    @property
    def texts(self) -> tuple[str, ...]:
        """What the model is given with every question: nobody's secret."""
        return ()
