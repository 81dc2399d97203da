"""Federated averaging of one model: weights in the place of knowledge (McMahan et al. 2017, arXiv 1602.05629).

One round:

    clients   study their private data from where the last round left off; send their adapters     `study`
    server    makes one of them
    clients   go on with it                                                                        `average`

With LoRA that is FedIT (Zhang et al. 2023, arXiv 2305.05644). An aggregator makes one of several adapters, of which
each changes its layers by the product s·B·A. Three of them:

    mean       Σ p·A and Σ p·B, p by private samples. Their product is not the average of the products.
    flexlora   the average of the products Σ p·s·B·A, and of that the nearest of each client's rank (arXiv 2402.11505)
    hetlora    A and B padded with zeros to the largest rank and averaged, p by the norm of s·B·A; of that the first
               rows and columns (arXiv 2401.06432)

All adapters start from the same A, since the average of factors that start apart means nothing. An SLM studies as many
steps or tokens as one that collaborates does in all. The LLM takes no part.
"""

from collections.abc import Mapping

from lada.aggregators.base import Weights
from lada.aggregators.factors import common_start, fit, outline, pairs, scaled
from lada.allocators.base import Allocator
from lada.codecs.adapters import Adapter
from lada.core.errors import FederationError
from lada.hosts.base import Framework
from lada.hosts.catalogue.fedavg import FedavgOptions
from lada.models.learners import LearnerOptions
from lada.models.objective import Objective
from lada.rounds.averaging import (
    ADAPTER,
    Start,
    catch_up,
    check_alike,
    handed_out,
    newest_of,
    newest_weights,
    pool,
)
from lada.rounds.base import Exchange, Kinds, Payload, Phase, Step
from lada.rounds.outline import EVALUATIONS, OF_CLIENTS, evaluate_everybody, studying_both
from lada.rounds.party import Party
from lada.rounds.reports import REPORT, collect, report_payload
from lada.rounds.secure import KEYS, MASKED, PHASES, check_enough
from lada.rounds.secure_client import advertise, masked_reply, started_from
from lada.rounds.secure_server import average_masked
from lada.rounds.steps import evaluate_party, gold_lessons, study_both
from lada.rounds.wire import part, write


class Fedavg(Framework):
    """Clients with one model study their private data and go on with the average of their adapters."""

    def __init__(self, options: FedavgOptions) -> None:
        self.options = options
        self._aggregator = options.aggregator[1]

    def check(self, allocator: Allocator, clients: Mapping[str, LearnerOptions]) -> None:
        """See Host.check."""
        if clients:  # of clients that bring their own models nothing is known
            check_alike(clients, f"host.options.form {self.options.form!r}", full=self._plain, ranks=not self._plain)
            self._aggregator.check(len(clients))
            if self.options.secure_aggregation:
                check_enough(len(clients))

    def phases(self, party: Party) -> Mapping[str, Phase]:
        """See Host.phases."""
        adapter, secure = frozenset({ADAPTER}), self.options.secure_aggregation
        return {
            "evaluate": Phase(replies=REPORT),
            "study": Phase(Kinds(may=adapter), Kinds(frozenset({KEYS}) if secure else adapter) | REPORT),
            **(PHASES if secure else {}),
            "average": Phase(Kinds(may=adapter) if secure else Kinds(adapter), REPORT),
        }

    def plan(self, round: int, objective: Objective) -> tuple[Step, ...]:
        """See Host.plan."""
        if round == 0:
            return EVALUATIONS
        return (
            *studying_both("private"),
            Step("client", "average", None, "private", sends=(MASKED if self.options.secure_aggregation else ADAPTER,)),
            Step("server", "average", None, "private", sends=(ADAPTER,)),
            *OF_CLIENTS,
        )

    def serve(self, party: Party, exchange: Exchange, round: int) -> None:
        """See Host.serve. Raises FederationError where the clients' adapters are not of the same layers."""
        if self.options.secure_aggregation:
            check_enough(len(exchange.clients))
        if round == 0:
            evaluate_everybody(party, exchange, round)
            return
        replies = exchange.ask("study", round, catch_up(party, exchange.clients)).wait()
        collect(party, replies)
        if self.options.secure_aggregation:
            newest, clients = average_masked(party, exchange, round, replies)
            shared = {client: {} if newest is None else {ADAPTER: newest} for client in clients}
        else:
            pooled = pool(party, replies, round, self.options, self._start(party))
            newest, shared = pooled.newest(party), pooled.shared(party)
        replies = exchange.ask("average", round, shared).wait()
        collect(party, replies)
        if newest is not None:
            handed_out(party, newest, replies)

    def reply(self, phase: str, party: Party, round: int, payload: Payload) -> Payload:
        """See Host.reply."""
        secure = self.options.secure_aggregation
        if phase in PHASES:
            return masked_reply(phase, party, round, payload, self.options.update_norm)
        if ADAPTER in payload:
            self._take(party, payload)
        elif phase == "study" and round == 1 and pairs(own := party.learner.adapter()):
            party.load_adapter(common_start(own, party.seed))
        if secure and (ADAPTER in payload or (phase == "study" and round == 1)):
            started_from(party)
        if phase == "study":
            study_both(party, gold_lessons(party, party.private), round=round, phase="private")
            told = advertise(party) if secure else {ADAPTER: self._told(party)}
            return {**told, **report_payload(party)}
        evaluate_party(party, round)
        return report_payload(party)

    @property
    def _plain(self) -> bool:
        return not self._aggregator.any_rank

    def _start(self, party: Party) -> Start:
        """Return what says what clients started from: the newest adapter, cut to their rank, or the common start."""
        if ADAPTER not in party.memory:
            return lambda own: common_start(own, party.seed) if outline(own) else None
        if self._plain:
            return newest_of(party)
        newest = newest_weights(party)
        return lambda own: fit(newest, own)

    def _told(self, party: Party) -> bytes:
        weights: Weights = party.learner.adapter()
        if not self._plain:
            weights = scaled(weights, party.learner.scaling)
        return write(party, ADAPTER, Adapter(weights, len(party.private)))

    def _take(self, party: Party, payload: Payload) -> None:
        weights: Weights = part(party, payload, ADAPTER).weights
        if not self._plain:
            own = party.learner.adapter()
            if outline(weights) != outline(own):
                raise FederationError("adapter: of other layers than those of the client's own")
            weights = fit(scaled(weights, 1 / party.learner.scaling), own)
        party.load_adapter(weights)
