"""Federated averaging of one model: weights instead of knowledge (McMahan et al. 2017, arXiv 1602.05629).

One round:

    clients   study their private data, starting from the last round's weights; send their adapters  `study`
    server    aggregates the adapters
    clients   continue with the result                                                             `average`

With LoRA this is FedIT (Zhang et al. 2023, arXiv 2305.05644). An aggregator combines several adapters, each of which
changes its layers by the product s·B·A. Three of them:

    mean       Σ p·A and Σ p·B, p by private samples. Their product is not the average of the products.
    flexlora   the average of the products Σ p·s·B·A, cut to each client's rank (arXiv 2402.11505)
    hetlora    A and B padded with zeros to the largest rank and averaged, p by the norm of s·B·A; then the first
               rows and columns (arXiv 2401.06432)

All adapters start from the same A, since an average of factors with different starts means nothing. An SLM studies as
many steps or tokens as a collaborating one does in total. The LLM takes no part.
"""

from collections.abc import Mapping

from lada.aggregators.base import Weights
from lada.aggregators.factors import common_start, fit, outline, pairs, scaled
from lada.allocators.base import Allocator
from lada.codecs.adapters import Update
from lada.core.errors import FederationError
from lada.hosts.base import Host
from lada.hosts.options.fedavg import FedavgOptions
from lada.models.learners import LearnerOptions
from lada.models.objective import Objective
from lada.rounds.averaging import (
    ADAPTER,
    Start,
    aggregate_updates,
    catch_up,
    check_alike,
    encode_adapter,
    newest_of,
    newest_weights,
    started_from,
)
from lada.rounds.base import Ask, MessageSchema, Receive, Round, Step, Turn
from lada.rounds.outline import (
    EVALUATING,
    NEWEST,
    REPORTING,
    SENT,
    evaluating_everybody,
    keep_newest,
    silent,
    studying_both,
    to_each,
)
from lada.rounds.party import Party
from lada.rounds.secure import check_enough
from lada.rounds.secure_rounds import ADVERTISING, CHECKING_ENOUGH, averaging_masked
from lada.rounds.wire import part, write


class Fedavg(Host):
    """Clients with one model study their private data and continue with the average of their adapters."""

    def __init__(self, options: FedavgOptions) -> None:
        self.options = options
        self._aggregator = options.aggregator[1]

    def check(self, allocator: Allocator, clients: Mapping[str, LearnerOptions]) -> None:
        """See Host.check."""
        if clients:  # nothing is known about clients that bring their own models
            check_alike(clients, f"host.options.form {self.options.form!r}", full=self._plain, ranks=not self._plain)
            self._aggregator.check(len(clients))
            if self.options.secure_aggregation:
                check_enough(len(clients))

    def round(self, number: int, objective: Objective) -> Round:
        """See Host.round. The server raises FederationError if the clients' adapters have different layers."""
        secure = self.options.secure_aggregation
        checks = (CHECKING_ENOUGH,) if secure else ()
        if number == 0:
            return (*checks, *evaluating_everybody())
        adapter = MessageSchema(frozenset({ADAPTER}))
        sending = Step("client", "average", None, "private", sends=(ADAPTER,), kinds=adapter, run=self._send)
        averaging = Step("server", "average", None, "private", sends=(ADAPTER,), run=self._average)
        return (
            *checks,
            Ask(
                "study",
                MessageSchema(optional=adapter.required),
                lambda turn: catch_up(turn.party, turn.exchange.clients),
            ),
            silent("client", self._begin),
            *studying_both(),
            ADVERTISING if secure else sending,
            REPORTING,
            Receive(),
            *(averaging_masked(self.options.update_norm) if secure else (averaging,)),
            Ask("average", MessageSchema(optional=adapter.required)) if secure else Ask("average", adapter, to_each),
            silent("client", self._take),
            EVALUATING,
            REPORTING,
            Receive(),
            silent("server", keep_newest),
        )

    def _average(self, turn: Turn) -> None:
        pooled = aggregate_updates(turn.party, turn.replies, turn.round, self.options, self._start(turn.party))
        turn[NEWEST] = newest = pooled.newest(turn.party)
        turn[SENT] = pooled.shared(turn.party, newest)

    @property
    def _plain(self) -> bool:
        return not self._aggregator.any_rank

    def _start(self, party: Party) -> Start:
        """Return a function that gives a client's start: the newest adapter at its rank, or the common start."""
        if ADAPTER not in party.memory:
            return lambda own: common_start(own, party.seed) if outline(own) else None
        if self._plain:
            return newest_of(party)
        newest = newest_weights(party)
        return lambda own: fit(newest, own)

    def _begin(self, turn: Turn) -> None:
        """Let a client continue with the newest adapter. In the first round all clients get the same factor A."""
        party, first = turn.party, turn.round == 1
        if ADAPTER in turn.received:
            self._take(turn)
        elif first:
            own = party.learner.adapter()
            if pairs(own):
                start = common_start(own, party.seed)
                party.load_adapter(start)
                self._remember(party, start)
            elif self.options.secure_aggregation:
                started_from(party, own)

    def _take(self, turn: Turn) -> None:
        """Let a client continue with the adapter that it received, if any."""
        if ADAPTER not in turn.received:
            return
        party = turn.party
        weights: Weights = part(party, turn.received, ADAPTER).weights
        if not self._plain:
            own = party.learner.adapter()
            if outline(weights) != outline(own):
                raise FederationError("adapter: its layers differ from those of the client's own")
            weights = fit(scaled(weights, 1 / party.learner.scaling), own)
        party.load_adapter(weights)
        self._remember(party, weights)

    def _remember(self, party: Party, weights: Weights) -> None:
        """Let a client remember what it starts from, if its message will be clipped or encoded relative to that."""
        if self.options.secure_aggregation or (self._plain and party.codecs[ADAPTER].changes):
            started_from(party, weights)

    def _send(self, turn: Turn) -> None:
        if self._plain:
            turn.outbox[ADAPTER] = encode_adapter(turn.party)
        else:
            weights = scaled(turn.party.learner.adapter(), turn.party.learner.scaling)
            turn.outbox[ADAPTER] = write(turn.party, ADAPTER, Update(weights, len(turn.party.private), None))
