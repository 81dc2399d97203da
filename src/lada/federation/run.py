"""The server's half of a run: its rounds, its events, and its files in the run's folder."""

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lada.config import RunConfig
from lada.core.clock import since
from lada.core.errors import FederationError, LadaError, of_party
from lada.core.owner import for_owner
from lada.core.results import PartyReport, Results
from lada.federation import begun
from lada.federation.bound import DROPPED, Binding
from lada.federation.cause import find
from lada.federation.events import EVENTS, Tail, mend, paused
from lada.federation.exchange import GridExchange
from lada.federation.journal import Journal
from lada.federation.ledger import LedgerRow, by_phase, read, recover
from lada.federation.local import run_local
from lada.federation.nodes import node_config
from lada.federation.outcome import Outcome
from lada.federation.parties import (
    CROSSED,
    ROUNDS_DONE,
    Place,
    crossed,
    describe,
    keep,
    let_go,
    notices_after,
    notices_before,
    rounds_done,
    rounds_noted,
    server_party,
)
from lada.federation.prepared import given, prepare
from lada.federation.rounds_noted import DIGESTS
from lada.federation.run_lock import run_lock
from lada.federation.server_app import serve_on
from lada.federation.session import Rules, Session
from lada.federation.terms import run_id, terms_of
from lada.points import registries_frozen
from lada.report.page import render
from lada.rounds import wire
from lada.rounds.checks import FINISH, Guard
from lada.rounds.party import Emit
from lada.rounds.reports import collect
from lada.tasks.data import TaskData
from lada.trackers.base import Status, Tracker
from lada.trackers.feed import Feed

if TYPE_CHECKING:
    from flwr.serverapp import Grid

START = "start"
"""The phase to report if loading a party's model ends the run."""
STARTING = 120.0
"""Additional seconds that clients have to connect if Flower starts them."""


def ignore(event: dict[str, Any]) -> None:
    """Do nothing with an event."""


@for_owner()
def conduct(config: RunConfig, place: Place, grid: "Grid", binding: Binding | None = None) -> None:
    """Run the server's half over Flower's grid, in one of Flower's processes."""
    prepared = prepare(config, place.base)
    if changed := begun.changed(place.folder, given(config, prepared[0])):
        raise FederationError(f"{', '.join(changed)}: changed since the run was handed to Flower; restore them")
    with registries_frozen(), run_lock(place.folder):
        Run(config, place, ignore, *prepared, grid, binding).go()


class Run:
    """One run in progress."""

    def __init__(
        self,
        config: RunConfig,
        place: Place,
        emit: Emit,
        task: TaskData,
        trackers: Mapping[str, Tracker],
        grid: "Grid | None" = None,
        binding: Binding | None = None,
    ) -> None:
        """`grid` reaches the clients; without one, they work on this machine. `binding` binds nodes to clients, if
        there is one."""
        self._grid, self._binding = grid, binding
        self.config, self.task, self.place = config, task, place
        self._emit_on = emit
        self._now = since(place.started)
        events = place.folder / EVENTS
        torn = mend(events)
        self._paused = paused([*Tail(events).new(), {"kind": "run", "time": self._now()}])
        self._events = events.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self._feed = Feed(trackers, place.folder, self._note)
        self._earlier, damage = recover(place.folder)
        self._told = len(self._earlier)
        parties = {"server": config.server.name, "clients": [client.name for client in config.clients]}
        self.emit({"kind": "run", "name": config.name, "folder": str(place.folder), "rounds": config.rounds, **parties})
        try:
            with of_party("server"):
                self._party = server_party(config, place, task, self.emit)
        except LadaError as error:
            where = {"party": config.server.name, "round": 0, "phase": START}
            self.emit({"kind": "failure", **where, "why": str(error)})
            self.emit({"kind": "end", "status": "failed"})
            self._events.close()
            raise
        self._done = rounds_done(config.server.name, place)
        self._rounds = rounds_noted(config.server.name, place)
        self._outcome = Outcome(config, task, place, self._leave_out)
        self._recall()
        if binding:
            try:
                binding.keep_in(place.folder)
            except LadaError as error:
                self._leave_out(place.folder / DROPPED, error)
        if torn:
            self.emit({"kind": "notice", "text": f"the last line of {EVENTS} was cut short and is left out"})
        self._tell_lost(damage)

    def _recall(self) -> None:
        """Restore the records of earlier rounds, which the checkpoint does not repeat."""
        since, (noted, lost) = self._party.report, self._rounds.read()
        noted.add({name: getattr(since, name) for name in PartyReport.model_fields})
        self._party.noted = noted
        for text in lost:
            self._note(text)

    def _note(self, text: str) -> None:
        """Tell the user once, and record it in results.json."""
        if not self._party.noted.has("notices", text):
            self._party.note(notices=(text,))

    def _tell_lost(self, damage: str) -> None:
        """Report losses of the ledger: `damage`, and missing rows that it had after the last round."""
        before = crossed(self.config.server.name, self.place)
        if damage or len(self._earlier) < before:
            lost = max(before - len(self._earlier), 0)
            self._note(
                f"the ledger lost rows ({damage or 'they are gone'}): {lost} of the {before} that it had by the end of "
                f"round {self._done}; what the journal has of them was entered again, and the traffic lacks the rest"
            )

    def emit(self, event: dict[str, Any]) -> None:
        """Write one event and pass it on; several threads call this."""
        event = {"time": round(self._now(), 3), **event}
        with self._lock:
            self._events.write(json.dumps(event) + "\n")
            self._events.flush()
            self._emit_on(event)
            self._feed.take(event)

    def go(self) -> Results:
        """Run all rounds, then write results and report."""
        config, place = self.config, self.place
        status: Status = "failed"
        try:
            self._feed.start(config.model_dump(mode="json"))
            self._reach_clients()
            status = "finished"
        except KeyboardInterrupt:
            status = "stopped"
            raise
        finally:
            let_go(self._party)
            results = self._end(status)
        render(place.folder)
        return results

    def _reach_clients(self) -> None:
        """Run the rounds with the clients, wherever they are."""
        config, place = self.config, self.place
        names = [client.name for client in config.clients]
        if self._grid is None:
            nodes = dict.fromkeys(names, node_config(config, place))
            open_node = "lada.federation.nodes:open_node"
            run_local(open_node, nodes, self._serve, self._session(), workers=config.workers, emit=self.emit)
        else:
            serve_on(self._grid, names, self._serve, self._session())

    def _session(self) -> Session:
        config, place, far = self.config, self.place, self.config.engine == "deployment"
        rules = Rules(
            config.timeout,
            {client.name: client.timeout for client in config.clients if client.timeout is not None},
            config.least_share,
            starting=STARTING if self._grid else 0.0,
            message_bytes=config.limits.max_message_bytes,
            reply_bytes=config.limits.reply_bytes,
        )
        return Session(
            run=run_id(place) if far else place.folder.resolve().name,
            folder=place.folder,
            rules=rules,
            journal=self._journal,
            describe=wire.describe(self._party.codecs),
            earlier=self._earlier,
            terms=terms_of(config, self.task, place) if far else {},
            guard=Guard(config.make_host(), self._party),
            binding=self._binding,
            on_missing=lambda missing: self._party.note(missing=(missing,)),
            on_timed=lambda times: self._party.note(exchanges=(times,)),
            emit=self.emit,
            cause=None if far else lambda client, reference: find(place.party(client), reference),
        )

    def _end(self, status: Status) -> Results:
        """Write the results before the trackers send their remaining figures, which may take long."""
        if self._binding:
            self._party.note(notices=tuple(self._binding.notices()))
        self._tell_traffic(read(self.place.folder))
        self._write()
        self._feed.finish(status)
        self.emit({"kind": "end", "status": status})
        results = self._write()
        self._events.close()
        return results

    def _serve(self, exchange: GridExchange) -> None:
        host, party, place = self.config.make_host(), self._party, self.place
        if self._done < 0:
            party.note(notices=(*notices_before(self.config), *self.task.notices))
        for round in range(self._done + 1, self.config.rounds + 1):
            self.emit({"kind": "round", "round": round, "rounds": self.config.rounds})
            party.journal = self._journal(round)
            exchange.clients = self.config.drawn(round)
            host.serve(party, exchange, round)
            rows = len(exchange.ledger.rows)
            more = {ROUNDS_DONE: str(round).encode(), CROSSED: str(rows).encode()}
            new = party.noted.fresh()
            keep(party, place, {**more, DIGESTS: self._rounds.write(round, new)}, report=PartyReport())
            place.journal(party.name).prune({str(round)})  # the previous checkpoint needs it to reach this state again
            self._tell_agreement(new)
            self._tell_traffic(exchange.ledger.rows)
            if not round & (round - 1):
                # A run that breaks later keeps its results. They are written whenever the number of rounds has doubled,
                # so the average cost of a round stays the same.
                self._write()
            self._feed.log()
        collect(party, exchange.ask(FINISH, self.config.rounds, {n: {} for n in self.config.drawn(0)}).wait())
        party.note(parties=(describe(party),), notices=notices_after(party))

    def _journal(self, round: int) -> Journal:
        return self.place.journal(self.config.server.name).at(str(round))

    def _write(self) -> Results:
        """Write the current results, and return them."""
        learner, seconds = self._party.learner, self._now() - self._paused
        results = self._outcome.results(self._party.report, learner.device, seconds)
        self._outcome.write(results)
        return results

    def _leave_out(self, file: Path, error: Exception) -> None:
        self._note(f"{file.relative_to(self.place.folder)} is left out ({error})")

    def _tell_agreement(self, new: PartyReport) -> None:
        """Announce how often each client's answers equal the server's; this needs the answers of both."""
        for evaluation in sorted(map(self._outcome.with_agreement, new.evaluations), key=lambda e: (e.round, e.party)):
            if evaluation.agreement is not None:
                share = {"party": evaluation.party, "round": evaluation.round, "share": evaluation.agreement}
                self.emit({"kind": "agreement", **share})

    def _tell_traffic(self, rows: Sequence[LedgerRow]) -> None:
        """Announce the traffic since the last call, given all `rows`."""
        for row in by_phase(rows[self._told :]):
            self.emit({"kind": "traffic", **row})
        self._told = len(rows)
