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
    """What a framework comes with: it holds under `plugin: none` for whatever the configuration does not name."""

    methods: Mapping[str, MethodChoice] = field(default_factory=dict)
    """By the kind of method; of other kinds it comes with their defaults."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the host itself that differ from its defaults, which are those under a plug-in."""
    one_way: Mapping[str, Any] = field(default_factory=dict)
    """Options of the host with which nothing is taught to the server, for one that cannot learn, whatever `plugin`."""


class Host(Rounds, Pluggable):
    """A framework. Its state lives in the parties; a host object holds options only."""

    bare: PaperDefaults = PaperDefaults()
    server_studies: bool = True
    """Whether the server learns from its clients, so that they have to teach it."""
    client_replay: Replay | None = None
    """What clients replay while they learn from others; None: they may study private samples in any study."""

    def ask(self, public: tuple[Sample, ...]) -> tuple[Sample, ...]:
        """Return the public samples as all parties are asked them in a run: nothing but their questions may differ."""
        return public

    def check(self, allocator: Allocator, clients: Mapping[str, LearnerOptions]) -> None:
        """Raise InputError for a plug-in or clients that the host's options cannot work with."""


HOSTS: Registry[Host] = Registry("host", "lada.hosts.catalogue")
