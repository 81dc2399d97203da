"""The terms of a run: what a client must know that is not in its own file. They are sent with the hello, as JSON."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import Field

from lada.choosing import choosing, of_a_party, settled
from lada.config import ClientConfig, RunConfig, ServerConfig
from lada.core.bounds import Rounds, Seed
from lada.core.choice import listed
from lada.core.names import LONGEST, Name
from lada.core.registry import Options
from lada.core.terms import Sample
from lada.federation.parties import Place
from lada.points import BY_PARTY, Point, chosen_points
from lada.tasks.data import TaskData

TERMS = "terms"
"""The kind of the message part."""


@choosing((point for point in BY_PARTY if point.agreed), of_a_party)
class Own(Options):
    """A party's own choices that differ from the run's."""

    @staticmethod
    def of(party: "Own | ServerConfig | ClientConfig") -> dict[str, Any]:
        """Return a party's own choices by key."""
        return {point.key: getattr(party, point.key) for point in BY_PARTY if point.agreed}


class ExpectedClient(Own):
    """An expected client, with the domains that the server's configuration lists for it."""

    name: Name
    domains: tuple[str, ...]


@choosing((point for point in chosen_points() if point.agreed), settled)
class Terms(Options):
    """The run as every party must see it. The digests are of the samples that all must have."""

    run: Name
    started: float = Field(ge=0, le=1e11, allow_inf_nan=False)
    seed: Seed
    rounds: Rounds
    server: Name
    server_own: Own = Own()
    clients: tuple[ExpectedClient, ...]
    public: str = Field(pattern=r"^[0-9a-f]{64}$")
    test: str = Field(pattern=r"^[0-9a-f]{64}$")

    @property
    def methods(self) -> dict[str, Any]:
        """The run's methods by the keys of the configuration."""
        return {point.key: getattr(self, point.key) for point in chosen_points() if point.agreed}

    def asked_of(self, client: str) -> Iterator[tuple[Point, str]]:
        """Yield the point and the name of each method that concerns a client: the run's, and the parties' own."""
        owners = (self, self.server_own, *(member for member in self.clients if member.name == client))
        for point in chosen_points():
            if point.agreed:
                for owner in owners:
                    for each in listed(getattr(owner, point.key, None)):
                        yield from ((point, name) for name in point.names(each.name, each.options))


def run_id(place: Place) -> str:
    """Return a run's name for clients: its folder's name and its start in milliseconds.

    A client's state is stored under this name. The folder's name alone would not be unique: it could be used again
    after the folder was moved or deleted.
    """
    return f"{place.folder.name[: LONGEST - 20]}-{round(place.started * 1000)}"  # the result must be a valid name too


def terms_of(config: RunConfig, task: TaskData, place: Place) -> dict[str, bytes]:
    """Return the message part with the terms of a resolved configuration."""
    methods = {point.key: getattr(config, point.key) for point in chosen_points() if point.agreed}
    terms = Terms(
        run=run_id(place),
        started=place.started,
        seed=config.seed,
        rounds=config.rounds,
        server=config.server.name,
        server_own=Own(**Own.of(config.server)),
        clients=tuple(
            ExpectedClient(name=client.name, domains=client.domains, **Own.of(client)) for client in config.clients
        ),
        public=digest(task.public),
        test=digest(task.test),
        **methods,
    )
    return {TERMS: terms.model_dump_json().encode()}


def digest(samples: Iterable[Sample]) -> str:
    """Return the SHA-256 over ids, questions, answers and entries (if any), in order."""
    total = hashlib.sha256()
    for sample in samples:
        entry = [] if sample.entry is None else [sample.entry]
        total.update(json.dumps([sample.id, sample.question, sample.answer, *entry]).encode())
    return total.hexdigest()
