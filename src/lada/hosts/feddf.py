"""FedDF: clients share one SLM; the average of their weights learns what they say together (arXiv 2006.07242).

In a round (see lada.hosts.shared_slm) the server takes each client's weights in turn to score the gold texts of the
public samples. The student starts from the average of the weights and matches the average of the logits:

    SLM   KL( softmax(mean over clients of their logits) ‖ SLM )

The server has the clients' weights, so the distributions never cross. The LLM takes no part but as one to compare with.
"""

from collections.abc import Mapping

from lada.core.terms import Knowledge, SparseLogProbs, Spelled
from lada.hosts.base import Bare
from lada.hosts.shared_slm import SharesSlm
from lada.rounds.aggregating import Weights
from lada.rounds.knowledge import Offer, know, score
from lada.rounds.matching import CONSENSUS, consensus_offer, match, merge_heard
from lada.rounds.party import Party


class Feddf(SharesSlm[None]):
    """Clients share one SLM; the average of their adapters then learns the average of what they say."""

    name = "feddf"
    llm_learns = False
    bare = Bare("all", "soft_targets", {"form": "forward_kl", "label_weight": 0.0})

    def prepare(self, party: Party, round: int) -> None:
        """Do nothing: the LLM takes no part."""

    def teach(self, party: Party, slm: Party, round: int, told: Mapping[str, Weights], prepared: None) -> None:
        """Let the average of the clients' weights learn the average of what they say."""
        mine = know(slm, round, "answer", "labels")
        match(slm, round, _ensemble(slm, mine, told), mine, self.options.slm_replay)


def _ensemble(slm: Party, texts: Knowledge, told: Mapping[str, Weights]) -> Offer:
    """Return what the clients, whose adapters were `told`, say together of the texts."""
    student = slm.learner.adapter()
    said: dict[str, dict[str, SparseLogProbs]] = {}
    spelled: dict[str, Spelled] = {}  # the same for all, who have the same tokens
    for client in sorted(told):
        slm.load_adapter(told[client])
        scores = score(slm, texts)
        said[client] = {id: each.top for id, each in scores.items()}
        spelled |= {id: Spelled(each.tokens, each.offsets) for id, each in scores.items()}
    slm.load_adapter(student)
    merged = merge_heard(slm, texts.round, spelled, said, "logits")
    return consensus_offer(slm, CONSENSUS, texts.round, merged)
