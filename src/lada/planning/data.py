"""The samples that a run will have, as far as is known without a network."""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lada.config import RunConfig
from lada.core.distribution import install_command
from lada.core.terms import Sample
from lada.federation.parties import read_task
from lada.tasks.builtin import Drawn
from lada.tasks.corpus import read_corpus
from lada.tasks.data import TaskData
from lada.tasks.options import HubTask


@dataclass(frozen=True, slots=True)
class Samples:
    """Counts of samples, their `source`, and the samples themselves if available."""

    public: int
    test: int
    private: Mapping[str, int]
    source: str
    task: TaskData | None = None
    fault: str | None = None
    """Whatever this machine lacks to load them."""

    def seen_by(self, party: str) -> tuple[Sample, ...] | None:
        """Return the samples that a party reads in a run; None if not available."""
        task = self.task
        return None if task is None else (*task.private.get(party, ()), *task.public, *task.test)

    def pooled(self, party: str) -> tuple[Sample, ...]:
        """Return the private samples of a client, or of all clients for the server; empty if not available."""
        private = self.task.private if self.task else {}
        return private[party] if party in private else tuple(sample for each in private.values() for sample in each)


def look(config: RunConfig, base: Path) -> Samples:
    """Return the samples of a run: from local data, else the counts that the configuration requests from a corpus on
    the hub.

    Raises InputError for data that cannot be used.
    """
    task = config.task
    if not isinstance(task, HubTask) or task.source is not None:
        data = read_task(config, base)
        if isinstance(data.private, Drawn):
            private = data.private.sizes()
        else:
            private = {name: len(samples) for name, samples in data.private.items()}
        return Samples(len(data.public), len(data.test), private, "counted in the data", data)
    read_corpus(task.corpus, base)
    lacking = importlib.util.find_spec("datasets") is None
    return Samples(
        task.public,
        task.test,
        {client.name: task.private for client in config.clients},
        f"at most, as configured: {task.corpus!r} is loaded when the run starts",
        fault=f"task.kind: 'corpus' needs the package datasets: {install_command('hub')}" if lacking else None,
    )
