"""How far a few hostile clients can move an average: updates are clipped, claims are capped, coordinates are held.

Three bounds go with the mean, our reading of what is known of robust averaging:

    clip    an *update* is what a client sends minus what it started from. One that is longer than `clip` times the
            round's median norm is scaled down to that length (norm clipping as in Sun et al. 2019, arXiv 1911.07963).
    cap     no client counts more samples than `clip` times the round's median claim. What it claims first it claims
            for the whole run: see lada.rounds.claims.
    hold    each coordinate of the average is brought into the range that is left of the clients' own values without
            the f smallest and the f largest of them, where f are `malicious`.

What `hold` promises: if at most f of n >= 2 f + 1 clients are hostile, every coordinate of the average lies between the
smallest and the largest value that honest clients sent, whatever the hostile ones send. Proof: at most f values can lie
below the smallest honest one, so the value after the f smallest is no smaller than that, and likewise at the other end.
Those two ends are in order since n - f > f, and the average lies between them.

With three clients and f = 1 the range is one value, the median; with more it rarely binds. The values that make the
range are those that were sent, before clipping. Of two clients nobody can say which is right: they are clipped and
capped, and a notice says so. Medians are the lower of two in the middle, so that one of two cannot raise a bound, and
are taken over the updates that move and the claims above zero. All is computed in float64, where no float32 overflows.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from lada.aggregators.base import Weights
from lada.core.plural import counted, plural

ROUNDING = 2.0**-22
"""An update that is no longer than this share of what it started from is float32's rounding: nothing moved."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What bounds an average; by default nothing does."""

    malicious: int = 0
    """How many clients may be hostile."""
    clip: float | None = None
    """Greatest multiple of the median norm and of the median claim; None: any."""

    def holds(self, clients: int) -> int:
        """Return against how many of so many clients an average is held."""
        return min(self.malicious, (clients - 1) // 2)


UNBOUNDED = Bounds()


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of several adapters: their average, float64, and each by itself after clipping."""

    weights: Weights
    received: Mapping[str, Weights]
    notices: tuple[str, ...] = ()


@dataclass
class Outside:
    """Counts the coordinates of an average that were held, and how often each client lay outside the range."""

    clients: tuple[str, ...]
    held: int = 0
    all: int = 0
    by_client: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def hold(self, average: np.ndarray, stack: np.ndarray, malicious: int) -> np.ndarray:
        """Return an average [...] held within what is left of the clients' values, `stack` [clients, ...]."""
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
        """Return what to say of it; nothing where no coordinate was held."""
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
            f"{self.held} of {counted(self.all, 'coordinate')} of the average {plural(self.held, 'was', 'were')} held "
            f"within the range that is left without the {those}; outside it were of {often}",
        )


def scales(norms: Mapping[str, float], clip: float | None) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return by what each client's update is multiplied so that none is too long, and what to say of it.

    `norms` are those of the updates, 0 for one that moves nothing.
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
    """Return how many samples each client counts for, and what to say of it; with `clip` None as many as it claims."""
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
    """Return the norm of an adapter's update over all weights at once; 0 for what is rounding."""
    return moved(_norm(_update(own, start)), _norm(start or {}))


def moved(norm: float, start: float) -> float:
    """Return the norm of an update, or 0 where it is rounding beside the norm of what it started from."""
    return norm if norm > ROUNDING * start else 0.0


def bound(
    weights: Mapping[str, Weights],
    starts: Mapping[str, Weights],
    bounds: Bounds,
    average: Callable[[Mapping[str, Weights]], Weights],
) -> Merged:
    """Return the `average` of adapters by client, which have the same names and shapes, within the bounds.

    `starts` are what clients started from; the update of one that is not in it is its adapter itself.
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
    """Return what an adapter is when its update is multiplied by `by`, float32."""
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
