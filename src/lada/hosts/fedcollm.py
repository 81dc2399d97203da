"""FedCoLLM: clients share one SLM, whose adapters are averaged; LLM and SLM then teach each other at the server.

Source: arXiv 2411.11707. In a round (see lada.hosts.shared_slm) LLM and averaged SLM score the gold texts, and each
studies them with the other's distributions:

    LLM   CE + λ · KL(f ‖ g)      the target is g, the SLM's, as it was before the study
    SLM   CE + λ · KL(g ‖ f)      the target is f, the LLM's, likewise

Both divergences are of the student from the target, `form: reverse_kl`, and flow back into the student alone.
"""

from collections.abc import Mapping

from lada.core.terms import Knowledge
from lada.hosts.base import Bare
from lada.hosts.catalogue.fedcollm import FedcollmOptions
from lada.hosts.shared_slm import SharesSlm
from lada.rounds.aggregating import Weights
from lada.rounds.allocating import allocate
from lada.rounds.distilling import Replay, and_labels, distil, lessons_of
from lada.rounds.knowledge import Offer, know, score
from lada.rounds.party import Party


class Fedcollm(SharesSlm[Offer]):
    """Clients share one SLM and average its adapters; at the server SLM and LLM then learn from each other."""

    name = "fedcollm"
    llm_learns = True
    bare = Bare("all", "soft_targets", {"form": "reverse_kl", "label_weight": 0.5})

    def __init__(self, options: FedcollmOptions) -> None:
        super().__init__(options)
        self._server_replay = options.server_replay

    def prepare(self, party: Party, round: int) -> Offer:
        """See SharesSlm.prepare."""
        return _says(party, round)

    def teach(self, party: Party, slm: Party, round: int, told: Mapping[str, Weights], prepared: Offer) -> None:
        """Let both learn what the other knew before either of them studied."""
        slm_says = _says(slm, round)
        _learn(party, round, slm_says, prepared.knowledge, self._server_replay)
        _learn(slm, round, prepared, slm_says.knowledge, self.options.slm_replay)


def _says(party: Party, round: int) -> Offer:
    known = know(party, round, "answer", "labels")
    return Offer(known, score(party, known), party.learner.vocabulary())


def _learn(student: Party, round: int, offer: Offer, mine: Knowledge, replay: Replay) -> None:
    """Let a party study all gold texts, those that its allocator chooses with the other's distributions."""
    allocation = allocate(student, round, offer.knowledge, mine)
    lessons = and_labels(student, lessons_of(student, allocation, offer, mine))
    distil(student, round, lessons, mine, replay=replay, teachers=offer.knowledge.party)
