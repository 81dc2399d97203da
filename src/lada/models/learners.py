"""What a configuration's `model` says of a learner, whatever kind of learner it is, before anything is loaded."""

from abc import abstractmethod
from typing import ClassVar

from lada.core.registry import Options
from lada.core.terms import Verb


class LearnerOptions(Options):
    """Base of the options of learners."""

    remote: ClassVar[bool] = False
    """Whether its weights are elsewhere, so that nothing can be taught to it."""

    @property
    @abstractmethod
    def able(self) -> frozenset[Verb]:
        """What the learner may be asked for."""

    @property
    @abstractmethod
    def limited_by(self) -> str:
        """Which keys say so, for people."""

    @property
    @abstractmethod
    def source(self) -> str | None:
        """Where its weights are from: a folder, a hub id or `zoo:NAME`; None where no files hold them."""
