"""FedDF: clients share one SLM, and the average of their weights learns their joint predictions (arXiv 2006.07242).

In a round (see lada.hosts.shared_slm), the server loads each client's weights in turn and scores the gold texts of the
public samples. The student starts from the average of the weights and matches the average of the logits:

    SLM   KL( softmax(mean over clients of their logits) ‖ SLM )

The server has the clients' weights, so distributions never cross the wire. The LLM is only a baseline.
"""

from collections.abc import Mapping

from lada.aggregators.base import Weights
from lada.core.choice import MethodChoice
from lada.core.terms import Knowledge, SparseLogProbs, TokenizedText, Verb
from lada.hosts.base import PaperDefaults
from lada.hosts.shared_slm import RECEIVED, SLM, SharesSlm
from lada.rounds.base import Round, Step, Turn
from lada.rounds.knowledge import Offer, score, write_knowledge
from lada.rounds.matching import CONSENSUS, add_opponents, consensus_offer, merge_received
from lada.rounds.outline import MINE, OFFER
from lada.rounds.party import Party


class Feddf(SharesSlm):
    """Clients share one SLM; the average of their adapters then learns the average of their predictions."""

    name = "feddf"
    llm_learns = False
    bare = PaperDefaults(
        {"objective": MethodChoice(name="soft_targets", options={"form": "forward_kl", "label_weight": 0.0})}
    )

    def preparing(self) -> Round:
        """See SharesSlm.preparing: the LLM takes no part."""
        return ()

    def teaching(self) -> Round:
        """See SharesSlm.teaching: the averaged weights learn the average of the clients' predictions."""
        return (
            Step("server", "answer", Verb.JUDGE, "public", run=_know),
            Step("server", "score", Verb.LOG_PROBS, "public", run=_hear),
            Step("server", "distil", Verb.STUDY, "lessons", "distil", run=self._match),
        )

    def _match(self, turn: Turn) -> None:
        add_opponents(turn[SLM], turn.round, turn[OFFER], turn[MINE], self.options.slm_replay)


def _know(turn: Turn) -> None:
    turn[MINE] = write_knowledge(turn[SLM], turn.round, "answer", "labels")


def _hear(turn: Turn) -> None:
    turn[OFFER] = _ensemble(turn[SLM], turn[MINE], turn[RECEIVED])


def _ensemble(slm: Party, texts: Knowledge, received: Mapping[str, Weights]) -> Offer:
    """Return the joint predictions of the clients, whose adapters were `received`, for the texts."""
    student = slm.learner.adapter()
    said: dict[str, dict[str, SparseLogProbs]] = {}
    spelled: dict[str, TokenizedText] = {}  # the same for all, who have the same tokens
    for client in sorted(received):
        slm.load_adapter(received[client])
        scores = score(slm, texts, slm.most_tokens)
        said[client] = {id: each.top for id, each in scores.items()}
        spelled |= {id: TokenizedText(each.tokens, each.offsets) for id, each in scores.items()}
    slm.load_adapter(student)
    merged = merge_received(slm, texts.round, spelled, said, "logits")
    return consensus_offer(slm, CONSENSUS, texts.round, merged)
