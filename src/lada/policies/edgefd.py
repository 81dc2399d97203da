"""EdgeFD (arXiv 2508.14769) for what a client sends: it answers only questions that resemble its private ones.

See lada.allocators.edgefd for the rule and its sources. The server averages over the clients that answered a question.
"""

from dataclasses import replace

from lada.allocators.edgefd import Region, RegionOptions, groups_of
from lada.core.needs import State, needs
from lada.core.plural import counted
from lada.core.seeds import seed_of
from lada.core.terms import Knowledge, Verb
from lada.policies.base import POLICIES, Owner, Policy


@POLICIES.register(
    "edgefd",
    options=RegionOptions,
    paper="arXiv 2508.14769",
    status="our reading",
    level="second-hand",
    needs=needs(student={Verb.EMBED}, own_vectors=True),
    tags=("labels", "feature"),
)
class EdgeFd(Policy):
    """Sends nothing about public questions that do not resemble the client's private ones.

    What it sends shows which public questions do. A client without private questions sends nothing.
    """

    def __init__(self, options: RegionOptions) -> None:
        self.options = options

    def release(self, state: State, knowledge: Knowledge, owner: Owner) -> tuple[State, Knowledge]:
        """See Policy.release."""
        if not state:
            own = owner.own()
            if own is None:
                return state, knowledge
            state = Region.of(own, self.options, seed_of(owner.seed, "edgefd", owner.name)).state()
        region = Region.from_state(state)
        samples, vectors = owner.embed()
        inside = region.distances(vectors, groups_of(samples, self.options.groups)) <= region.radius
        known = {sample.id for sample, near in zip(samples, inside, strict=True) if near}
        kept = tuple(path for path in knowledge.paths if path.sample_id in known)
        owner.note(
            f"sends {len(kept)} of {counted(len(knowledge.paths), 'path')}, since it knows nothing like the others"
        )
        return state, replace(knowledge, paths=kept)
