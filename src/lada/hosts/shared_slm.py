"""What hosts have in common whose clients share one SLM, of which the server keeps a copy that it teaches.

One round:

    clients   go on with the newest adapter, study their private data, send what became of it           `study`
    server    makes one adapter of them; its SLM, with that one, is taught
    clients   go on with the adapter that the SLM has now                                              `take`

Public text and distributions stay at the server: adapters are all that crosses. A client studies as many steps or
tokens as one that collaborates by knowledge does in all; what the SLM is taught at the server comes on top.
"""

from abc import abstractmethod
from collections.abc import Mapping

from lada.allocators.base import Allocator
from lada.codecs import adapters
from lada.core.errors import InputError
from lada.hosts.base import Host
from lada.models.objective import Objective
from lada.models.options import ModelOptions
from lada.rounds.aggregating import Weights, check_rule
from lada.rounds.allocating import check_takes_labels
from lada.rounds.averaging import (
    ADAPTER,
    catch_up,
    check_alike,
    fix_outline,
    pool,
)
from lada.rounds.base import Ask, Hear, Kinds, Round, Slot, Step, Turn
from lada.rounds.options import SharedSlmOptions
from lada.rounds.outline import (
    EVALUATING,
    EVALUATING_SERVER,
    NEWEST,
    REPORTING,
    evaluating_everybody,
    keep_newest,
    send_adapter,
    silent,
    studying_both,
    take_sent,
)
from lada.rounds.party import SHARED_SLM, Party
from lada.rounds.reports import collect, report_payload
from lada.rounds.soft import check_wants_soft_targets

SLM: Slot[Party] = Slot("shared SLM")
TOLD: Slot[Mapping[str, Weights]] = Slot("clients' adapters")


class SharesSlm(Host):
    """A host whose clients share one SLM; what that is taught at the server is each host's own."""

    name: str
    llm_learns: bool

    def __init__(self, options: SharedSlmOptions) -> None:
        self.options = options

    @abstractmethod
    def preparing(self) -> Round:
        """Return what the LLM does while the clients study."""

    @abstractmethod
    def teaching(self) -> Round:
        """Return how the server's SLM is taught, which has the adapter made of those that the clients sent."""

    def check(self, allocator: Allocator, clients: Mapping[str, ModelOptions]) -> None:
        """See Host.check."""
        check_takes_labels(allocator, f"host: {self.name!r} works on gold texts", "plugin none")
        if not clients:
            raise InputError(
                f"clients: host {self.name!r} has a copy of their model at the server, and the configuration names "
                "none; expected the same clients.model for all, also in a deployment"
            )
        check_alike(clients, f"host {self.name!r}")
        check_rule(self.options.aggregation, self.options.malicious, len(clients))

    def round(self, number: int, objective: Objective) -> Round:
        """See Host.round. What the shared SLM does is counted as if the LLM did it, beside which it is small."""
        check_wants_soft_targets(self.name, objective)
        if number == 0:
            return evaluating_everybody()
        adapter, first = frozenset({ADAPTER}), (ADAPTER,) if number == 1 else ()
        return (
            Step("server", "share", None, "private", sends=first, run=_open),
            Ask("study", Kinds(may=adapter), lambda turn: catch_up(turn.party, turn.exchange.clients)),
            silent("client", take_sent),
            *studying_both(),
            Step("client", "share", None, "private", sends=(ADAPTER,), kinds=Kinds(adapter), run=send_adapter),
            REPORTING,
            *self.preparing(),
            Hear(),
            silent("server", self._pool),
            *self.teaching(),
            Step("server", "share", None, "private", sends=(ADAPTER,), run=_share),
            Ask("take", Kinds(adapter)),
            silent("client", take_sent),
            EVALUATING,
            REPORTING,
            *((EVALUATING_SERVER,) if self.llm_learns else ()),
            Hear(),
            silent("server", keep_newest),
        )

    def _pool(self, turn: Turn) -> None:
        """Make one adapter of the clients', with which the SLM goes on."""
        pooled = pool(turn.party, turn.replies, turn.round, self.options)
        turn[SLM].load_adapter(pooled.weights)
        turn[TOLD] = pooled.told
        turn.replies = {client: turn.replies[client] for client in pooled.told}


def _open(turn: Turn) -> None:
    """Bring the server's SLM back, as it was before the run."""
    party, slm = turn.party, turn.party.open_slm()
    party.memory.setdefault(ADAPTER, adapters.encode(slm.learner.adapter(), 0))
    fix_outline(party, adapters.decode(party.memory[ADAPTER], limit=party.limits.adapter_bytes)[0])
    turn[SLM] = slm


def _share(turn: Turn) -> None:
    """Send the adapter that the SLM has now; its report joins the server's."""
    collect(turn.party, {SHARED_SLM: report_payload(turn[SLM])})
    turn[NEWEST] = turn.outbox[ADAPTER] = adapters.encode(turn[SLM].learner.adapter(), 0)
