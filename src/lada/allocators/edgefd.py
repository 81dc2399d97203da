"""EdgeFD (arXiv 2508.14769): a client deals only with samples that resemble its own data.

A client clusters its private questions once, by k-means over their embeddings e. It keeps a public question x if

    min over centres c of  ||e(x) - c||₂  <=  θ,      θ = the 90 % quantile of that distance over its private questions

Sources: summaries of the paper for the clusters and the filter; a public re-implementation for the quantile and for one
centre per class. The paper's proxy samples are a part of every client's private data, which the client sends to all
others. Here the public questions take their place, and no private sample or vector leaves its client.

This allocator filters what a client learns. The policy `edgefd` filters in the same way what it sends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field
from threadpoolctl import threadpool_limits

from lada.allocators.base import ALLOCATORS, Candidates, State
from lada.allocators.selection import RuleOptions, allocate, from_teacher, top
from lada.core.needs import needs
from lada.core.registry import Options, Pluggable
from lada.core.seeds import seed_of
from lada.core.terms import Allocation, OwnQuestions, Sample, Verb

Groups = Literal["none", "domain", "answer"]
PER_CENTRE = 10
"""Minimum number of questions per centre. With one question each, all distances and so the radius would be 0."""


class RegionOptions(Options):
    """Which questions resemble a client's own."""

    centres: int = Field(default=8, ge=1, le=1000)
    """Number of clusters of the private questions, or of each group of them. There are fewer if a cluster would have
    fewer than ten questions or if fewer questions differ."""
    quantile: float = Field(default=0.9, gt=0, le=1)
    """Share of the private questions whose distance from the nearest centre lies within the radius."""
    groups: Groups = "none"
    """Cluster the private questions of each `domain`, or of each gold `answer` as in a classifier, separately. A public
    question is then compared with the centres of its own group, and refused if there are none. If its group is unknown,
    it is compared with all centres."""


class EdgeFdOptions(RegionOptions, RuleOptions):
    """Options of EdgeFD. Under a budget, the questions nearest to the client's own come first."""


@dataclass(frozen=True, slots=True)
class Region:
    """Where a client's own questions lie: centres float64 [c, width], their groups int64 [c], and a radius."""

    centres: np.ndarray
    groups: np.ndarray
    radius: float

    @classmethod
    def of(cls, own: OwnQuestions, options: RegionOptions, seed: int) -> "Region":
        """Return the region of a client's private questions. Without any, it has no centres and a radius of -1."""
        vectors, groups = own.vectors.astype(np.float64), groups_of(own.samples, options.groups)
        if not len(vectors):
            return cls(vectors, groups, -1.0)
        found = [
            _centres(vectors[groups == group], options.centres, seed_of(seed, int(group)))
            for group in np.unique(groups)
        ]
        numbers = np.repeat(np.unique(groups), [len(each) for each in found])
        region = cls(np.concatenate(found), numbers, 0.0)
        return cls(region.centres, numbers, float(np.quantile(region.distances(vectors, groups), options.quantile)))

    @classmethod
    def from_state(cls, state: State) -> "Region":
        """Return the region that `state` returned."""
        return cls(state["centres"], state["groups"], float(state["radius"]))

    def state(self) -> State:
        """Return the region as arrays."""
        return {"centres": self.centres, "groups": self.groups, "radius": np.array(self.radius)}

    def distances(self, vectors: np.ndarray, groups: np.ndarray) -> np.ndarray:
        """Return the distance of each vector [n, width] from the nearest centre of its group [n], inf without any."""
        found = np.full(len(vectors), np.inf)
        for row, (vector, group) in enumerate(zip(vectors.astype(np.float64), groups, strict=True)):
            centres = self.centres if group == UNKNOWN else self.centres[self.groups == group]
            if len(centres):
                found[row] = np.sqrt(np.square(centres - vector).sum(1)).min()
        return found


UNKNOWN = seed_of("")
"""The group of samples whose domain or answer is unknown, and of all with `groups: none`."""


def groups_of(samples: Sequence[Sample], by: Groups) -> np.ndarray:
    """Return a number for the group of each sample, int64 [n]."""
    names = [{"none": "", "domain": sample.domain, "answer": sample.answer or ""}[by] for sample in samples]
    return np.array([seed_of(name) for name in names], np.int64)


def _centres(vectors: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return at most `count` centres of k-means over `vectors` [n, width]; see RegionOptions.centres."""
    from sklearn.cluster import k_means  # seconds to import, which a command that only looks does not need

    count = min(count, max(1, len(vectors) // PER_CENTRE), len(np.unique(vectors, axis=0)))
    with threadpool_limits(1):  # the bits of a sum depend on how many threads share it
        return k_means(vectors, count, n_init=4, random_state=seed % 2**32)[0]  # pyright: ignore


@ALLOCATORS.register(
    "edgefd",
    options=EdgeFdOptions,
    paper="arXiv 2508.14769",
    status="our reading",
    level="second-hand",
    needs=needs({Verb.ANSWER}, {Verb.EMBED}, own_vectors=True),
    tags=("labels", "feature"),
)
class EdgeFd(Pluggable):
    """The teacher's paths for the public questions that resemble the student's private ones.

    A server has no private questions. It takes all that its clients send, and the policy `edgefd` lets each client send
    only what resembles its own data. A client without private questions takes nothing.
    """

    def __init__(self, options: EdgeFdOptions) -> None:
        self.options = options

    def apply(self, state: State, candidates: Candidates) -> tuple[State, Allocation, dict[str, float]]:
        """See Allocator.apply. A sample's score is its negated distance from the nearest centre."""
        count, allowed = len(candidates.samples), self.options.may_take(candidates.teacher_paths)
        own = None if state else candidates.own()
        if not state and own is None:
            chosen = top(np.zeros(count), allowed, self.options.limit(count))
            reasons = dict.fromkeys(chosen, "a server has no questions of its own to compare it with")
            return state, allocate(candidates, chosen, from_teacher(chosen), None, reasons), {}
        region = Region.from_state(state) if own is None else Region.of(own, self.options, candidates.seed)
        groups = groups_of(candidates.samples, self.options.groups)
        distances = region.distances(candidates.embed(), groups)
        inside = distances <= region.radius
        chosen = top(-distances, allowed & inside, self.options.limit(count))
        reasons = {i: f"{distances[i]:.3g} from the student's own questions" for i in chosen}
        lacking = ~np.isin(groups, [UNKNOWN, *region.groups])
        numbers = {
            "inside": float(inside.sum()),
            "of_absent_groups": float(lacking.sum()),
            "centres": float(len(region.centres)),
            "radius": region.radius,
        }
        known = np.isfinite(distances)  # of groups that are absent it is not, and they get the lowest score
        scores = -np.where(known, distances, distances[known].max(initial=0.0))
        return region.state(), allocate(candidates, chosen, from_teacher(chosen), scores, reasons), numbers
