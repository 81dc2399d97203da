"""Federated averaging of one model: weights in the place of knowledge (McMahan et al. 2017, arXiv 1602.05629).

One round:

    clients   study their private data from where the last round left off; send their adapters     `study`
    server    makes one of them
    clients   go on with it                                                                        `average`

With LoRA that is FedIT (Zhang et al. 2023, arXiv 2305.05644). Three forms of making one of several adapters, for an
adapter changes its layers by the product s·B·A:

    average    Σ p·A and Σ p·B, p by private samples. Their product is not the average of the products.
    flexlora   the average of the products Σ p·s·B·A, and of that the nearest of each client's rank (arXiv 2402.11505)
    hetlora    A and B padded with zeros to the largest rank and averaged, p by the norm of s·B·A; of that the first
               rows and columns (arXiv 2401.06432)

All adapters start from the same A, since the average of factors that start apart means nothing. An SLM studies as many
steps or tokens as one that collaborates does in all. The LLM takes no part.
"""

from collections.abc import Mapping

from lada.allocators.base import Allocator
from lada.codecs import adapters
from lada.core.errors import FederationError
from lada.hosts.base import Bare, Host
from lada.hosts.catalogue.fedavg import FedavgOptions
from lada.models.objective import Objective
from lada.models.options import ModelOptions
from lada.rounds.aggregating import Weights, check_rule
from lada.rounds.averaging import (
    ADAPTER,
    Merge,
    Pooled,
    Start,
    average_of,
    catch_up,
    check_alike,
    newest_of,
    pool,
    shapes,
)
from lada.rounds.base import Ask, Hear, Kinds, Payload, Round, Slot, Step, Turn
from lada.rounds.factors import average_products, bounded_padded, common_start, fit, outline, pairs, scaled
from lada.rounds.outline import EVALUATING, NEWEST, REPORTING, evaluating_everybody, keep_newest, silent, studying_both
from lada.rounds.party import Party
from lada.rounds.secure import check_enough
from lada.rounds.secure_client import started_from
from lada.rounds.secure_rounds import ADVERTISING, CHECKING_ENOUGH, averaging_masked

SHARED: Slot[Mapping[str, Payload]] = Slot("adapters for each client")


class Fedavg(Host):
    """Clients with one model study their private data and go on with the average of their adapters."""

    bare = Bare("all")

    def __init__(self, options: FedavgOptions) -> None:
        self.options = options

    def check(self, allocator: Allocator, clients: Mapping[str, ModelOptions]) -> None:
        """See Host.check."""
        if clients:  # of clients that bring their own models nothing is known
            check_alike(clients, f"host.options.form {self.options.form!r}", full=self._plain, ranks=not self._plain)
            check_rule(self.options.aggregation, self.options.malicious, len(clients))
            if self.options.secure_aggregation:
                check_enough(len(clients))

    def round(self, number: int, objective: Objective) -> Round:
        """See Host.round. The server raises FederationError where the clients' adapters are not of the same layers."""
        secure = self.options.secure_aggregation
        checks = (CHECKING_ENOUGH,) if secure else ()
        if number == 0:
            return (*checks, *evaluating_everybody())
        adapter = Kinds(frozenset({ADAPTER}))
        sending = Step("client", "average", None, "private", sends=(ADAPTER,), kinds=adapter, run=self._send)
        averaging = Step("server", "average", None, "private", sends=(ADAPTER,), run=self._average)
        return (
            *checks,
            Ask("study", Kinds(may=adapter.must), lambda turn: catch_up(turn.party, turn.exchange.clients)),
            silent("client", self._begin),
            *studying_both(),
            ADVERTISING if secure else sending,
            REPORTING,
            Hear(),
            *(averaging_masked(self.options.update_norm) if secure else (averaging,)),
            Ask("average", Kinds(may=adapter.must)) if secure else Ask("average", adapter, _to_each),
            silent("client", self._take),
            EVALUATING,
            REPORTING,
            Hear(),
            silent("server", keep_newest),
        )

    def _average(self, turn: Turn) -> None:
        outlines = shapes if self._plain else outline
        start = self._start(turn.party)
        pooled = pool(turn.party, turn.replies, turn.round, self.options, self._merge, outlines, start)
        turn[NEWEST], turn[SHARED] = pooled.encode(pooled.weights), self._cut(pooled)

    @property
    def _plain(self) -> bool:
        return self.options.form == "average"

    @property
    def _merge(self) -> Merge:
        match self.options.form:
            case "average":
                return average_of(self.options)
            case "flexlora":
                return lambda weights, samples, starts: average_products(weights, samples, starts, self.options.bounds)
            case "hetlora":
                return lambda weights, _, starts: bounded_padded(weights, starts, self.options.bounds)

    def _start(self, party: Party) -> Start:
        """Return what says what clients started from: the newest adapter, cut to their rank, or the common start."""
        if ADAPTER not in party.memory:
            return lambda own: common_start(own, party.seed) if outline(own) else None
        if self._plain:
            return newest_of(party)
        newest, _ = adapters.decode(party.memory[ADAPTER], limit=party.limits.adapter_bytes)
        return lambda own: fit(newest, own)

    def _cut(self, pooled: Pooled) -> dict[str, Payload]:
        """Return what each client is sent: the adapter, cut to the rank of its own."""
        if self._plain:
            same = {ADAPTER: pooled.encode(pooled.weights)}
            return {client: same for client in pooled.told}
        return {client: {ADAPTER: pooled.encode(fit(pooled.weights, own))} for client, own in pooled.told.items()}

    def _begin(self, turn: Turn) -> None:
        """Let a client go on with the newest adapter; at first all have the same factor A."""
        party, first = turn.party, turn.round == 1
        if ADAPTER in turn.heard:
            self._take(turn)
        elif first:
            if pairs(own := party.learner.adapter()):
                party.load_adapter(common_start(own, party.seed))
            if self.options.secure_aggregation:
                started_from(party)

    def _take(self, turn: Turn) -> None:
        """Let a client go on with the adapter that it was sent, if any."""
        if ADAPTER not in turn.heard:
            return
        party = turn.party
        weights: Weights = adapters.decode(turn.heard[ADAPTER], limit=party.limits.adapter_bytes)[0]
        if not self._plain:
            own = party.learner.adapter()
            if outline(weights) != outline(own):
                raise FederationError("adapter: of other layers than those of the client's own")
            weights = fit(scaled(weights, 1 / party.learner.scaling), own)
        party.load_adapter(weights)
        if self.options.secure_aggregation:
            started_from(party)

    def _send(self, turn: Turn) -> None:
        weights: Weights = turn.party.learner.adapter()
        if not self._plain:
            weights = scaled(weights, turn.party.learner.scaling)
        turn.outbox[ADAPTER] = adapters.encode(weights, len(turn.party.private))


def _to_each(turn: Turn) -> Mapping[str, Payload]:
    return turn[SHARED]
