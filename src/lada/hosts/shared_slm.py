"""What hosts share if all clients have the same SLM and the server teaches a copy of it.

One round:

    clients   start from the newest adapter, study their private data and send the result              `study`
    server    aggregates the adapters; its SLM takes the result and is taught
    clients   continue with the SLM's new adapter                                                      `take`

Public texts and distributions stay at the server; only adapters cross the wire. A client studies as many steps or
tokens as one that collaborates by knowledge does in total. Teaching the SLM at the server comes on top.
"""

from abc import abstractmethod
from collections.abc import Mapping

from lada.aggregators.base import Weights
from lada.allocators.base import Allocator
from lada.codecs.adapters import Adapter
from lada.core.errors import InputError
from lada.core.terms import Sample
from lada.hosts.base import Host
from lada.models.learners import LearnerOptions
from lada.models.objective import Objective
from lada.rounds.allocating import check_takes_labels
from lada.rounds.averaging import (
    ADAPTER,
    aggregate_updates,
    catch_up,
    check_alike,
    fix_outline,
    newest_weights,
    to_clients,
)
from lada.rounds.base import Ask, MessageSchema, Receive, Round, Slot, Step, Turn
from lada.rounds.gold import check_gold
from lada.rounds.labels import ask_for_labels
from lada.rounds.options import SharedSlmOptions
from lada.rounds.outline import (
    EVALUATING,
    EVALUATING_SERVER,
    NEWEST,
    REPORTING,
    SENT,
    evaluating_everybody,
    keep_newest,
    send_adapter,
    silent,
    studying_both,
    take_sent,
    to_each,
)
from lada.rounds.party import SHARED_SLM, Party
from lada.rounds.reports import collect, report_payload
from lada.rounds.soft import check_wants_soft_targets
from lada.rounds.wire import write
from lada.tasks.data import TaskData

SLM: Slot[Party] = Slot("shared SLM")
RECEIVED: Slot[Mapping[str, Weights]] = Slot("clients' adapters")


class SharesSlm(Host):
    """A host whose clients share one SLM; each host teaches it in its own way."""

    name: str
    llm_learns: bool

    def __init__(self, options: SharedSlmOptions) -> None:
        self.options = options

    @abstractmethod
    def preparing(self) -> Round:
        """Return what the LLM does while the clients study."""

    @abstractmethod
    def teaching(self) -> Round:
        """Return how the server's SLM is taught after it has loaded the aggregated adapter."""

    def ask(self, public: tuple[Sample, ...]) -> tuple[Sample, ...]:
        """See Host.ask."""
        return ask_for_labels(public, self.options.label_prompt)

    def check(self, allocator: Allocator, clients: Mapping[str, LearnerOptions]) -> None:
        """See Host.check."""
        check_takes_labels(allocator, f"host: {self.name!r} works on gold texts", "plugin none")
        if not clients:
            raise InputError(
                f"clients: host {self.name!r} keeps a copy of the clients' model at the server, but the configuration "
                "names no model; expected the same clients.model for all, also in a deployment"
            )
        check_alike(clients, f"host {self.name!r}")
        self.options.aggregator[1].check(len(clients))

    def check_task(self, task: TaskData) -> None:
        """See Host.check_task."""
        check_gold(task, f"host: {self.name!r}", "choose another host, such as fedavg")

    def round(self, number: int, objective: Objective) -> Round:
        """See Host.round. The shared SLM's work counts as the LLM's, which is much larger."""
        check_wants_soft_targets(self.name, objective)
        if number == 0:
            return evaluating_everybody()
        adapter, first = frozenset({ADAPTER}), (ADAPTER,) if number == 1 else ()
        return (
            Step("server", "share", None, "private", sends=first, run=_open),
            Ask("study", MessageSchema(optional=adapter), lambda turn: catch_up(turn.party, turn.exchange.clients)),
            silent("client", take_sent),
            *studying_both(),
            Step("client", "share", None, "private", sends=(ADAPTER,), kinds=MessageSchema(adapter), run=send_adapter),
            REPORTING,
            *self.preparing(),
            Receive(),
            silent("server", self._pool),
            *self.teaching(),
            Step("server", "share", None, "private", sends=(ADAPTER,), run=_share),
            Ask("take", MessageSchema(adapter), to_each),
            silent("client", take_sent),
            EVALUATING,
            REPORTING,
            *((EVALUATING_SERVER,) if self.llm_learns else ()),
            Receive(),
            silent("server", keep_newest),
        )

    def _pool(self, turn: Turn) -> None:
        """Aggregate the clients' adapters, with which the SLM continues."""
        pooled = aggregate_updates(turn.party, turn.replies, turn.round, self.options)
        turn[SLM].load_adapter(pooled.found.weights)
        turn[RECEIVED] = pooled.found.clipped
        turn.replies = {client: turn.replies[client] for client in pooled.found.by_client}


def _open(turn: Turn) -> None:
    """Restore the server's SLM as it was before the run."""
    party, slm = turn.party, turn.party.open_slm()
    if ADAPTER not in party.memory:
        party.memory[ADAPTER] = write(party, ADAPTER, Adapter(slm.learner.adapter(), 0))
    fix_outline(party, newest_weights(party))
    turn[SLM] = slm


def _share(turn: Turn) -> None:
    """Send the SLM's current adapter; its report joins the server's."""
    collect(turn.party, {SHARED_SLM: report_payload(turn[SLM])})
    turn[NEWEST] = newest = write(turn.party, ADAPTER, Adapter(turn[SLM].learner.adapter(), 0))
    turn[SENT] = to_clients(turn.party, newest, turn.replies)
