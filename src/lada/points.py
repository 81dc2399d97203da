"""The points at which methods plug in, one row per kind. Everything that lists kinds of methods reads these rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from lada.aggregators.base import AGGREGATORS
from lada.allocators.base import ALLOCATORS
from lada.augmenters.base import AUGMENTERS
from lada.codecs.base import CODECS
from lada.core.registry import Registry
from lada.fusers.base import FUSERS
from lada.hooks.base import HOOKS
from lada.hosts.base import HOSTS
from lada.learners.base import LEARNERS
from lada.objectives.base import OBJECTIVES
from lada.objectives.weighted import NAME as WEIGHTED
from lada.objectives.weighted import names_in
from lada.policies.base import POLICIES
from lada.trackers.base import TRACKERS

Side = Literal["server", "client", "both"]
Scope = Literal["run", "party", "pair"]


def alone(name: str, _options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return only the name: most methods consist of no others."""
    return (name,)


@dataclass(frozen=True, slots=True)
class Point:
    """One kind of method."""

    registry: Registry[Any]
    side: Side
    """Which side runs it."""
    scope: Scope
    """What its state belongs to: the run, a party, or a pair of teacher and student. A method of a party can be chosen
    per party too."""
    key: str = ""
    """The configuration's key that chooses it; empty if there is none."""
    several: bool = False
    """Whether a configuration names a list of methods, each at most once, instead of one."""
    default: str | None = None
    """What is chosen if neither the configuration nor `plugin` nor the host decides; None means nothing."""
    decides: bool = False
    """Whether its choice sets the defaults of other points. Its own default is then part of the schema."""
    observes: bool = False
    """Whether it only observes. A resumed run may then use other ones, and no result depends on them."""
    later: bool = False
    """Whether its default is what runs did before the point existed, so that their figures remain valid."""
    limit: str = "methods"
    """The key of a client's limits that lists which methods a server may request."""
    combined: str = ""
    """The method that a list stands for; its option `<key>s` holds the list."""
    names: Callable[[str, Mapping[str, Any]], tuple[str, ...]] = alone
    """Returns the names of all methods that a chosen one, with its options, consists of."""
    about: str = ""
    """The meaning of its key, for the schema and the docs."""

    @property
    def kind(self) -> str:
        """The kind's name in messages and tables."""
        return self.registry.kind

    @property
    def by_party(self) -> bool:
        """Whether each party may choose another method than the run."""
        return self.scope == "party" and bool(self.key)

    @property
    def agreed(self) -> bool:
        """Whether the server tells the clients of a deployment which one it is. The rest is set in clients' files."""
        return self.side == "both" and bool(self.key)


POINTS: Mapping[str, Point] = MappingProxyType(
    {
        point.kind: point
        for point in (
            Point(
                HOSTS,
                "both",
                "run",
                key="host",
                default="fedmkt",
                decides=True,
                limit="hosts",
                about="The framework of collaboration: what happens in a round.",
            ),
            Point(
                ALLOCATORS,
                "both",
                "pair",
                key="allocator",
                default="all",
                about="Which public samples a student studies, per pair and direction. None means `plugin`'s choice.",
            ),
            Point(
                AUGMENTERS,
                "both",
                "run",
                key="augmenter",
                about="Which new public questions the server's LLM writes, and which of them are kept. None means that "
                "the public samples stay as they are.",
            ),
            Point(
                OBJECTIVES,
                "both",
                "party",
                key="objective",
                default="sft",
                combined=WEIGHTED,
                names=names_in,
                about="The loss of a lesson. None means `plugin`'s choice. A list, `[{name, options, weight}, …]`, is "
                "a weighted sum.",
            ),
            Point(
                FUSERS,
                "server",
                "run",
                key="fuser",
                default="least_loss",
                later=True,
                about="Which path the server learns if several clients offer one for the same question.",
            ),
            Point(
                POLICIES,
                "client",
                "party",
                key="policies",
                several=True,
                about="What else clients remove from what they send, in this order. These policies run after `redact` "
                "and `blur`.",
            ),
            Point(
                HOOKS,
                "both",
                "party",
                key="hooks",
                several=True,
                about="Hooks into every study, in this order: into its gradients, and into the weights after it.",
            ),
            Point(AGGREGATORS, "server", "run"),
            Point(
                CODECS,
                "both",
                "run",
                key="codecs",
                several=True,
                about="Codecs that replace the default encoding of message parts, by name; at most one per kind of "
                "part. All parties of a run use the same ones.",
            ),
            Point(LEARNERS, "both", "party"),  # chosen by `model`
            Point(
                TRACKERS,
                "server",
                "run",
                key="trackers",
                several=True,
                observes=True,
                about="Where figures go in addition to the run's folder, by name. `lada methods` lists the trackers.",
            ),
        )
    }
)
"""All points by kind, in the order in which users meet them."""


def chosen_points() -> Iterator[Point]:
    """Yield the points that a configuration chooses methods for."""
    return (point for point in POINTS.values() if point.key)


BY_PARTY = tuple(point for point in chosen_points() if point.by_party)
"""The points at which each party may choose another method than the run."""


@contextmanager
def registries_frozen() -> Iterator[None]:
    """Load all methods, and refuse new ones during a run."""
    registries = [point.registry for point in POINTS.values()]
    for registry in registries:
        registry.names()  # which loads all methods
    with ExitStack() as stack:
        for registry in registries:
            stack.enter_context(registry)
        yield
