"""The contract of a host: one collaboration framework, in a server half and a client half."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lada.core.registry import Registry
from lada.rounds.engine import Rounds

if TYPE_CHECKING:
    from lada.allocators.base import Allocator
    from lada.models.options import ModelOptions


@dataclass(frozen=True, slots=True)
class Bare:
    """What a framework comes with: it holds under `plugin: none` for whatever the configuration does not name."""

    allocator: str
    objective: str = "sft"
    objective_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of that objective that differ from its defaults."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the host itself that differ from its defaults, which are those under a plug-in."""


class Host(Rounds):
    """A framework. Its state lives in the parties; a host object holds options only."""

    bare: Bare
    pools_private: bool = False
    """Whether private samples leave their clients, so that it is a bound to compare with and runs on one machine."""

    def check(self, allocator: Allocator, clients: Mapping[str, ModelOptions]) -> None:
        """Raise InputError for a plug-in or clients that the host's options cannot work with."""


HOSTS: Registry[Host] = Registry("host", "lada.hosts.catalogue")
