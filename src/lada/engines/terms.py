"""What a client has to know of a run that its own file does not say: the terms, sent with the hello, as JSON."""

import hashlib
import json
from collections.abc import Iterable

from pydantic import Field

from lada.config import Choice, RunConfig
from lada.core.bounds import Rounds, Seed
from lada.core.names import LONGEST, Name
from lada.core.registry import Options
from lada.core.terms import Sample
from lada.federation.parties import Place
from lada.tasks.data import TaskData

TERMS = "terms"
"""The kind of the message part."""


class Member(Options):
    """A client that is expected, with the domains that the server's configuration lists for it."""

    name: Name
    domains: tuple[str, ...]


class Terms(Options):
    """The run as every party must see it. The digests are those of the samples that all are to have."""

    run: Name
    started: float = Field(ge=0, le=1e11, allow_inf_nan=False)
    seed: Seed
    rounds: Rounds
    host: Choice
    allocator: Choice
    objective: Choice
    codecs: tuple[Choice, ...] = Field(default=(), exclude_if=lambda codecs: not codecs)
    server: Name
    clients: tuple[Member, ...]
    public: str = Field(pattern=r"^[0-9a-f]{64}$")
    test: str = Field(pattern=r"^[0-9a-f]{64}$")


def run_id(place: Place) -> str:
    """Return a run's name towards clients: that of its folder and its start in milliseconds.

    A client's state lies under this name. The folder's alone would be that of another run too, as soon as somebody
    moved or deleted the folder.
    """
    return f"{place.folder.name[: LONGEST - 20]}-{round(place.started * 1000)}"  # this whole is a name too


def terms_of(config: RunConfig, task: TaskData, place: Place) -> dict[str, bytes]:
    """Return the message part with the terms of a resolved configuration."""
    assert config.allocator is not None
    assert config.objective is not None
    terms = Terms(
        run=run_id(place),
        started=place.started,
        seed=config.seed,
        rounds=config.rounds,
        host=config.host,
        allocator=config.allocator,
        objective=config.objective,
        codecs=config.codecs,
        server=config.server.name,
        clients=tuple(Member(name=client.name, domains=client.domains) for client in config.clients),
        public=digest(task.public),
        test=digest(task.test),
    )
    return {TERMS: terms.model_dump_json().encode()}


def digest(samples: Iterable[Sample]) -> str:
    """Return the SHA-256 over ids, questions, answers and, where there are some, entries, in order."""
    total = hashlib.sha256()
    for sample in samples:
        entry = [] if sample.entry is None else [sample.entry]
        total.update(json.dumps([sample.id, sample.question, sample.answer, *entry]).encode())
    return total.hexdigest()
