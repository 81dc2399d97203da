"""Bounds on how far a few hostile clients can move an average: clipped updates, capped claims, held coordinates.

Three bounds apply to the mean, our reading of robust averaging:

    clip    an *update* is what a client sends minus what it started from. An update longer than `clip` times the
            round's median norm is scaled down to that length (norm clipping as in Sun et al. 2019, arXiv 1911.07963).
    cap     no client counts more samples than `clip` times the round's median claim. A client's first claim holds for
            the whole run: see lada.rounds.claims.
    hold    each coordinate of the average is clamped to the range of the clients' values without the f smallest and
            the f largest, where f is `malicious`.

What `hold` guarantees: if at most f of n >= 2 f + 1 clients are hostile, every coordinate of the average lies between
the smallest and the largest value that honest clients sent, whatever the hostile ones send. Proof: at most f values can
lie below the smallest honest one, so the value after the f smallest is at least that; likewise at the other end. The
two ends are in order since n - f > f, and the average lies between them.

With three clients and f = 1 the range is one value, the median; with more clients it rarely binds. The range uses the
values as sent, before clipping. With two clients, LaDa cannot tell which is right: they are clipped and capped, and a
notice says so. Medians are the lower of the two middle values, so that one client of two cannot raise a bound. They are
taken over the updates that move and the claims above zero. All is computed in float64, which no float32 overflows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from lada.aggregators.base import Weights
from lada.core.plural import counted, plural

ROUNDING = 2.0**-22
"""An update no longer than this share of its start is float32 rounding: nothing moved."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds on an average. By default there are none."""

    malicious: int = 0
    """Number of clients that may be hostile."""
    clip: float | None = None
    """Largest allowed multiple of the median norm and of the median claim; None means any."""

    def holds(self, clients: int) -> int:
        """Return how many hostile clients an average over `clients` clients withstands."""
        return min(self.malicious, (clients - 1) // 2)


UNBOUNDED = Bounds()


@dataclass(frozen=True, slots=True)
class Merged:
    """The average of several adapters, float64, and each adapter after clipping."""

    weights: Weights
    received: Mapping[str, Weights]
    notices: tuple[str, ...] = ()


@dataclass
class Outside:
    """Counts the held coordinates of an average, and how often each client was outside the range."""

    clients: tuple[str, ...]
    held: int = 0
    all: int = 0
    by_client: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def hold(self, average: np.ndarray, stack: np.ndarray, malicious: int) -> np.ndarray:
        """Return an average [...] clamped to the trimmed range of the clients' values, `stack` [clients, ...]."""
        last = len(stack) - 1 - malicious
        ordered = np.partition(stack, sorted({malicious, last}), axis=0)
        low, high = ordered[malicious], ordered[last]
        result = np.clip(average, low, high)
        outside = ((stack < low) | (stack > high)).reshape(len(stack), -1).sum(axis=1)
        self.by_client = outside if not self.all else self.by_client + outside
        self.held += int((result != average).sum())
        self.all += average.size
        return result

    def notices(self, malicious: int) -> tuple[str, ...]:
        """Return notices about held coordinates, if there were any."""
        if not self.held:
            return ()
        often = ", ".join(
            f"{client!r} {100 * count / self.all:.1f} %"
            for client, count in zip(self.clients, self.by_client.tolist(), strict=True)
        )
        those = (
            f"{malicious} smallest and {malicious} largest values" if malicious > 1 else "smallest and largest value"
        )
        return (
            f"{self.held} of {counted(self.all, 'coordinate')} of the average {plural(self.held, 'was', 'were')} "
            f"clamped to the range without the {those}; share of values outside it: {often}",
        )


def scales(norms: Mapping[str, float], clip: float | None) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the factor for each client's update that keeps it within the norm bound, and notices.

    `norms` are the norms of the updates; 0 for one that moves nothing.
    """
    moved = sorted(norm for norm in norms.values() if norm)
    if clip is None or not moved:
        return dict.fromkeys(norms, 1.0), ()
    median = moved[(len(moved) - 1) // 2]
    most = clip * median
    notices = tuple(
        f"the update of client {client!r} has norm {norm:.4g}, more than {clip:g} times the median, {median:.4g}; it "
        f"was clipped to {most:.4g}"
        for client, norm in sorted(norms.items())
        if norm > most
    )
    return {client: most / norm if norm > most else 1.0 for client, norm in norms.items()}, notices


def cap(claims: Mapping[str, int], clip: float | None) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return how many samples each client counts for, and notices. With `clip` None, claims count in full."""
    if clip is None:
        return dict(claims), ()
    above = sorted(claim for claim in claims.values() if claim)
    most = int(clip * above[(len(above) - 1) // 2]) if above else 0
    capped = {client: min(claim, most) for client, claim in claims.items()}
    notices = tuple(
        f"client {client!r} claims {counted(claims[client], 'sample')} and counts for {count}: no client counts for "
        f"more than "
        f"{clip:g} times the median"
        for client, count in sorted(capped.items())
        if count < claims[client]
    )
    return capped, notices


def norm_of(own: Weights, start: Weights | None) -> float:
    """Return the norm of an adapter's update over all weights at once; 0 if it is only rounding."""
    return moved(_norm(_update(own, start)), _norm(start or {}))


def moved(norm: float, start: float) -> float:
    """Return the norm of an update, or 0 if it is only rounding relative to the norm of its start."""
    return norm if norm > ROUNDING * start else 0.0


def bound(
    weights: Mapping[str, Weights],
    starts: Mapping[str, Weights],
    bounds: Bounds,
    average: Callable[[Mapping[str, Weights]], Weights],
) -> Merged:
    """Return the `average` of adapters by client, with the same names and shapes, within the bounds.

    `starts` are the weights that clients started from. Without an entry, a client's update is its adapter itself.
    """
    clients = sorted(weights)
    clipped, notices = _clipped(weights, starts, bounds.clip)
    merged = average(clipped)
    holds = bounds.holds(len(clients))
    if not holds:
        return Merged(merged, clipped, notices)
    outside = Outside(tuple(clients))
    held = {
        name: outside.hold(array, np.stack([weights[client][name] for client in clients]), holds)
        for name, array in merged.items()
    }
    return Merged(held, clipped, (*notices, *outside.notices(holds)))


def _clipped(
    weights: Mapping[str, Weights], starts: Mapping[str, Weights], clip: float | None
) -> tuple[dict[str, Weights], tuple[str, ...]]:
    if clip is None:
        return dict(weights), ()
    norms = {client: norm_of(own, starts.get(client)) for client, own in weights.items()}
    by, notices = scales(norms, clip)
    return {
        client: own if by[client] == 1.0 else scaled_update(own, starts.get(client), by[client])
        for client, own in weights.items()
    }, notices


def scaled_update(own: Weights, start: Weights | None, by: float) -> dict[str, np.ndarray]:
    """Return an adapter with its update multiplied by `by`, float32."""
    return {
        name: ((0.0 if start is None else start[name].astype(np.float64)) + by * update).astype(np.float32)
        for name, update in _update(own, start).items()
    }


def _update(own: Weights, start: Weights | None) -> dict[str, np.ndarray]:
    return {
        name: array.astype(np.float64) - (0.0 if start is None else start[name].astype(np.float64))
        for name, array in own.items()
    }


def _norm(weights: Mapping[str, np.ndarray]) -> float:
    return sum(float(np.square(array, dtype=np.float64).sum()) for array in weights.values()) ** 0.5
