"""Divides samples among named clients: every sample goes to exactly one client, and every client gets some.

The partitioners of flwr-datasets do not fit here: they take a `datasets.Dataset` and numbered partitions, support
neither named clients nor domains that a client asks for, and seed one generator for all. So we wrote these few lines.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np

from lada.core.errors import InputError, nearest
from lada.core.seeds import generator
from lada.core.terms import Sample
from lada.tasks.options import PartitionOptions


def partition(
    samples: Sequence[Sample],
    owners: Sequence[str | None],
    clients: Mapping[str, tuple[str, ...]],
    options: PartitionOptions,
    seed: int,
) -> dict[str, tuple[Sample, ...]]:
    """Return each client's samples, in the order of `samples`; clients are sorted by name.

    `owners[i]` is the value of the client column for sample i; `clients` maps a name to the domains that it lists. The
    order of `clients` does not matter. Raises InputError if a sample would have no client or a client no sample.
    """
    names = sorted(clients)
    if options.by != "domain" and (listing := [name for name in names if clients[name]]):
        raise InputError(
            f"clients: {listing[0]!r} lists domains, but partition.by is {options.by!r}; "
            "drop the list or set partition.by: domain"
        )
    if options.by == "given":
        chosen = _given(samples, owners, names)
    elif options.by == "domain":
        chosen = _by_domain(samples, clients, seed)
    elif options.by == "dirichlet":
        chosen = _dirichlet(samples, names, options.alpha, seed)
    else:
        chosen = [""] * len(samples)
        _deal(range(len(samples)), names, chosen, generator(seed, "partition", "iid"))
    parts: dict[str, list[Sample]] = {name: [] for name in names}
    for sample, name in zip(samples, chosen, strict=True):
        parts[name].append(sample)
    for name, part in parts.items():
        if not part:
            raise InputError(f"clients: {name!r} is left with no training samples; {_FIXES[options.by]}")
    return {name: tuple(part) for name, part in parts.items()}


_FIXES = {
    "domain": "list other domains for it, use fewer clients, or set partition.by: iid",
    "dirichlet": "raise partition.alpha, use fewer clients, or set partition.by: iid",
    "given": "name it in the client column, or remove it from the clients",
    "iid": "use fewer clients or more data",
}


def _deal(rows: Sequence[int], names: Sequence[str], chosen: list[str], rng: np.random.Generator) -> None:
    """Divide `rows` evenly among `names`, in random order: sizes differ by at most one."""
    for row, name in zip(rng.permutation(np.asarray(rows, dtype=np.int64)), cycle(names), strict=False):
        chosen[row] = name


def _rows_by_domain(samples: Sequence[Sample]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {domain: [] for domain in sorted({sample.domain for sample in samples})}
    for row, sample in enumerate(samples):
        rows[sample.domain].append(row)
    return rows


def _given(samples: Sequence[Sample], owners: Sequence[str | None], names: list[str]) -> list[str]:
    chosen: list[str] = []
    for sample, owner in zip(samples, owners, strict=True):
        if owner is None:
            raise InputError(
                f"data: sample {sample.id!r} names no client; fill its client column or set partition.by: domain"
            )
        if owner not in names:
            raise InputError(
                f"data: sample {sample.id!r} belongs to client {owner!r}; expected one of {', '.join(names)}"
                f"{nearest(owner, names)}"
            )
        chosen.append(owner)
    return chosen


def _by_domain(samples: Sequence[Sample], clients: Mapping[str, tuple[str, ...]], seed: int) -> list[str]:
    rows = _rows_by_domain(samples)
    owners: dict[str, list[str]] = {domain: [] for domain in rows}
    for name in sorted(clients):
        for domain in sorted(set(clients[name])):
            if domain not in owners:
                raise InputError(
                    f"clients: {name!r} lists domain {domain!r}, which the data lacks; it has {', '.join(rows)}"
                    f"{nearest(domain, rows)}"
                )
            owners[domain].append(name)
    free = [domain for domain in rows if not owners[domain]]
    takers = [name for name in sorted(clients) if not clients[name]]
    if free and not takers:
        raise InputError(
            f"clients: no client lists domain {free[0]!r} of the data; add it to a client or drop its rows"
        )
    for domain, name in zip(free, cycle(takers), strict=False):
        owners[domain].append(name)
    chosen = [""] * len(samples)
    for domain, names in owners.items():
        _deal(rows[domain], names, chosen, generator(seed, "partition", "domain", domain))
    return chosen


def _dirichlet(samples: Sequence[Sample], names: list[str], alpha: float, seed: int) -> list[str]:
    chosen = [""] * len(samples)
    for domain, rows in _rows_by_domain(samples).items():
        rng = generator(seed, "partition", "dirichlet", domain)
        shares = rng.dirichlet([alpha] * len(names))
        cuts = np.rint(np.cumsum(shares)[:-1] * len(rows)).astype(int)
        for name, part in zip(names, np.split(rng.permutation(rows), cuts), strict=True):
            for row in part:
                chosen[row] = name
    return chosen
