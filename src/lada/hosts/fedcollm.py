"""FedCoLLM: clients average the adapters of one SLM; then LLM and SLM teach each other at the server.

Source: arXiv 2411.11707. In a round (see lada.hosts.shared_slm), LLM and averaged SLM score the gold texts. Each then
studies them with the other's distributions:

    LLM   CE + λ · KL(f ‖ g)      the target g is the SLM's distribution before the study
    SLM   CE + λ · KL(g ‖ f)      the target f is the LLM's distribution before the study

Both divergences are of the student from the target (`form: reverse_kl`), with gradients for the student only.
"""

from lada.core.choice import MethodChoice
from lada.core.terms import Knowledge, Verb
from lada.hosts.base import PaperDefaults
from lada.hosts.options.fedcollm import FedcollmOptions
from lada.hosts.shared_slm import SLM, SharesSlm
from lada.rounds.allocating import allocate_offers
from lada.rounds.base import Round, Step, Turn
from lada.rounds.distilling import Replay, and_labels, distil, lessons_of
from lada.rounds.knowledge import Offer, score, write_knowledge
from lada.rounds.outline import MINE, OFFER
from lada.rounds.party import Party


class Fedcollm(SharesSlm):
    """Clients share one SLM and average its adapters; at the server SLM and LLM then learn from each other."""

    name = "fedcollm"
    llm_learns = True
    bare = PaperDefaults(
        {"objective": MethodChoice(name="soft_targets", options={"form": "reverse_kl", "label_weight": 0.5})}
    )

    def __init__(self, options: FedcollmOptions) -> None:
        super().__init__(options)
        self._server_replay = options.server_replay

    def preparing(self) -> Round:
        """See SharesSlm.preparing."""
        return (
            Step("server", "answer", Verb.JUDGE, "public", run=_know),
            Step("server", "score", Verb.LOG_PROBS, "public", run=_score),
        )

    def teaching(self) -> Round:
        """See SharesSlm.teaching."""
        return (Step("server", "distil", Verb.STUDY, "lessons", "distil", run=self._teach),)

    def _teach(self, turn: Turn) -> None:
        """Let each learn from the other's distributions before either studied."""
        slm_says = _says(turn[SLM], write_knowledge(turn[SLM], turn.round, "answer", "labels"))
        _learn(turn.party, turn.round, slm_says, turn[MINE], self._server_replay)
        _learn(turn[SLM], turn.round, turn[OFFER], slm_says.knowledge, self.options.slm_replay)


def _know(turn: Turn) -> None:
    turn[MINE] = write_knowledge(turn.party, turn.round, "answer", "labels")


def _score(turn: Turn) -> None:
    turn[OFFER] = _says(turn.party, turn[MINE])


def _says(party: Party, known: Knowledge) -> Offer:
    return Offer(known, score(party, known, party.most_tokens), party.learner.vocabulary())


def _learn(student: Party, round: int, offer: Offer, mine: Knowledge, replay: Replay) -> None:
    """Let a party study all gold texts; the allocated ones also with the other's distributions."""
    allocation = allocate_offers(student, round, offer.knowledge, mine, replay=replay)
    lessons = and_labels(student, lessons_of(student, allocation, offer, mine))
    distil(student, round, lessons, mine, replay=replay, teachers=offer.knowledge.party)
