"""The contract of a host: one collaboration framework, in a server half and a client half."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lada.core.choice import MethodChoice
from lada.core.registry import Pluggable, Registry
from lada.core.terms import Sample
from lada.rounds.engine import Rounds

if TYPE_CHECKING:
    from lada.allocators.base import Allocator
    from lada.models.learners import LearnerOptions
    from lada.rounds.options import Replay


@dataclass(frozen=True, slots=True)
class PaperDefaults:
    """A framework's own defaults under `plugin: none`, for everything that the configuration does not set."""

    methods: Mapping[str, MethodChoice] = field(default_factory=dict)
    """By kind of method. Other kinds keep their own defaults."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the host that differ from its defaults, which apply with a plug-in."""
    one_way: Mapping[str, Any] = field(default_factory=dict)
    """Options of the host with which the server is not taught, for a server that cannot learn, whatever `plugin` is."""


class Host(Rounds, Pluggable):
    """A framework. Its state lives in the parties; a host object holds only options."""

    bare: PaperDefaults = PaperDefaults()
    server_studies: bool = True
    """Whether the server learns from its clients, so that they must be able to teach."""
    judges_texts: bool = False
    """Whether teachers can score the texts that their students wrote."""
    averages: bool = False
    """Whether it averages parties' distributions, so that a fuser can weigh them."""
    client_replay: Replay | None = None
    """What clients replay while they learn from others. None means that any study may contain private samples."""

    def ask(self, public: tuple[Sample, ...]) -> tuple[Sample, ...]:
        """Return the public samples as all parties see them in a run. Only their questions may differ."""
        return public

    def check(self, allocator: Allocator, clients: Mapping[str, LearnerOptions]) -> None:
        """Raise InputError for a plug-in or clients that do not work with the host's options."""


HOSTS: Registry[Host] = Registry("host", "lada.hosts.catalogue")
