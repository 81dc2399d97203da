"""The points at which methods plug in, one row a kind. Whatever lists the kinds of methods reads these rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from lada.aggregators.base import AGGREGATORS
from lada.allocators.base import ALLOCATORS
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
    """Return the name alone: most methods consist of no others."""
    return (name,)


@dataclass(frozen=True, slots=True)
class Point:
    """One kind of method."""

    registry: Registry[Any]
    side: Side
    """Who runs it."""
    scope: Scope
    """What a state of it belongs to: the run, a party, or a pair of teacher and student. What belongs to a party can be
    chosen for each of them too."""
    key: str = ""
    """The key of the configuration that chooses it; empty: no configuration does."""
    several: bool = False
    """Whether a configuration names a list of methods, each at most once, in the place of one."""
    default: str | None = None
    """What is chosen where neither the configuration nor `plugin` nor the host says anything; None: nothing."""
    decides: bool = False
    """Whether its choice says what the others are by default, so that its own default stands in the schema."""
    observes: bool = False
    """Whether it only watches: then a resumed run may have other ones, and no result depends on them."""
    later: bool = False
    """Whether its default is what runs did before the point existed, so that their figures still hold."""
    limit: str = "methods"
    """The key of a client's limits that says which ones a server may ask it for."""
    combined: str = ""
    """The method that a list in the place of one stands for; its option `<key>s` holds the list."""
    names: Callable[[str, Mapping[str, Any]], tuple[str, ...]] = alone
    """Returns the names of all methods that a chosen one, with its options, consists of."""
    about: str = ""
    """What its key means, for the schema and the docs."""

    @property
    def kind(self) -> str:
        """What messages and tables call such a method."""
        return self.registry.kind

    @property
    def by_party(self) -> bool:
        """Whether each party may have another one than the run."""
        return self.scope == "party" and bool(self.key)

    @property
    def agreed(self) -> bool:
        """Whether the server sends clients of a deployment which one it is. What clients alone run, their files say."""
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
                about="Which public samples a student studies, per pair and direction; None: what `plugin` says.",
            ),
            Point(
                OBJECTIVES,
                "both",
                "party",
                key="objective",
                default="sft",
                combined=WEIGHTED,
                names=names_in,
                about="The loss that a lesson gives; None: what `plugin` says. A list, `[{name, options, weight}, …]`, "
                "stands for a weighted sum.",
            ),
            Point(
                FUSERS,
                "server",
                "run",
                key="fuser",
                default="least_loss",
                later=True,
                about="Which path the server learns where several clients offer one for the same question.",
            ),
            Point(
                POLICIES,
                "client",
                "party",
                key="policies",
                several=True,
                about="What else clients take out of what they send, in this order, after `redact` and `blur`, which "
                "are two such.",
            ),
            Point(
                HOOKS,
                "both",
                "party",
                key="hooks",
                several=True,
                about="What every study goes through, in this order: its gradients, and the weights after it.",
            ),
            Point(AGGREGATORS, "server", "run"),
            Point(
                CODECS,
                "both",
                "run",
                key="codecs",
                several=True,
                about="How parts of messages become bytes where not as usual, by name; at most one for each kind of "
                "part. All parties of a run have the same.",
            ),
            Point(LEARNERS, "both", "party"),  # chosen by `model`
            Point(
                TRACKERS,
                "server",
                "run",
                key="trackers",
                several=True,
                observes=True,
                about="Where figures go beside the run's folder, by name; `lada methods` lists them.",
            ),
        )
    }
)
"""All points by kind, in the order in which people meet them."""


def chosen_points() -> Iterator[Point]:
    """Yield the points that a configuration chooses methods for."""
    return (point for point in POINTS.values() if point.key)


BY_PARTY = tuple(point for point in chosen_points() if point.by_party)
"""The points at which each party may have another method than the run."""


@contextmanager
def registries_frozen() -> Iterator[None]:
    """Load all methods, and let no other one register itself while a run is under way."""
    registries = [point.registry for point in POINTS.values()]
    for registry in registries:
        registry.names()  # which loads them all
    with ExitStack() as stack:
        for registry in registries:
            stack.enter_context(registry)
        yield
