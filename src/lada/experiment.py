"""Run an experiment from its configuration: the public Python API behind `lada.run`."""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lada.codecs.paths import decode
from lada.config import RunConfig, Source, make_config, open_config
from lada.core.clock import since
from lada.core.errors import FederationError, InputError, LadaError, of_party
from lada.core.names import check_name
from lada.core.owner import for_owner
from lada.core.paths import is_folder
from lada.core.results import Evaluation, PartyReport, Results, Shown, Traffic, WallClock
from lada.core.sealed import is_sealed, seal, seal_written, unseal
from lada.core.seeds import generator
from lada.core.terms import Path as ReasoningPath
from lada.core.terms import Sample
from lada.engines.server import check_deployment, deploy
from lada.engines.simulation import check_simulation, simulate
from lada.engines.terms import run_id, terms_of
from lada.environment import environment
from lada.evaluation.agreement import agreement
from lada.federation import begun, run_folder
from lada.federation.bound import DROPPED, Binding
from lada.federation.cause import find
from lada.federation.claim import claimed
from lada.federation.events import EVENTS, Tail, mend, paused
from lada.federation.exchange import GridExchange, Rules
from lada.federation.journal import Journal
from lada.federation.ledger import Row, by_phase, read, recover, traffic
from lada.federation.local import run_local
from lada.federation.messages import SERVER
from lada.federation.nodes import node_config
from lada.federation.parties import (
    CROSSED,
    ROUNDS_DONE,
    Place,
    check_model,
    crossed,
    describe,
    keep,
    let_go,
    notices_after,
    notices_before,
    read_task,
    rounds_done,
    rounds_noted,
    server_party,
)
from lada.federation.rounds_noted import DIGESTS
from lada.federation.server_app import serve_on
from lada.report.page import render
from lada.rounds import wire
from lada.rounds.checks import FINISH, Guard
from lada.rounds.party import Emit
from lada.rounds.records import gather
from lada.rounds.reports import collect
from lada.rounds.sizes import check_sizes
from lada.tasks.data import TaskData
from lada.trackers.base import Status, Tracker
from lada.trackers.feed import Feed

if TYPE_CHECKING:
    from flwr.serverapp import Grid

SHOWN, SHOWN_CLIENTS = 24, 16
"""Test questions per client in the report's sample browser, and the most clients."""
START = "start"
"""The phase in which a party's model is loaded, where the run ends over that."""
STARTING = 120.0
"""Seconds more that clients have to connect where Flower starts them."""
Prepared = tuple[TaskData, Mapping[str, Tracker]]


def ignore(event: dict[str, Any]) -> None:
    """Do nothing with an event."""


@for_owner()
def run(
    config: Source,
    *,
    name: str | None = None,
    runs: Path = Path("runs"),
    overrides: tuple[str, ...] = (),
    emit: Emit = ignore,
    resume: bool = False,
    federation: Path | None = None,
    common: Path | None = None,
) -> Results:
    """Run an experiment and return its typed results.

    `config` is a RunConfig, plain data of the same form, or the path of a YAML file; `overrides` are `key=value`
    strings. It may also be what `lada.config.open_config` made of these, and `overrides` then play no part. The run's
    folder is `runs/<name>`, with a number behind it where that exists; relative paths in a file
    start at its folder, else at the working directory. `emit` gets every event as it happens.

    With `resume` the newest run of that name goes on where it stopped, to the same bits as if it had not; where there
    is none, it begins. The path of a run's folder in the place of a configuration resumes that run.

    `federation` is the server's folder of a deployment, for `engine: deployment`. `common` is a folder in which runs of
    `engine: local`, by one version of the code, leave studies and answers for others that would do the same with the
    same weights; the bits are those of a run without it. It is the caller's to remove.

    `results.missing` has who was lost on the way, and is empty where everybody took part in everything.

    Raises InputError where configuration, data or models are wrong, before anything is trained wherever that can be
    told; FederationError where fewer clients than the quorum answer; StudyError where the server's own study came to
    nothing. What was computed by then stays in the run's folder.
    """
    if resume and isinstance(config, (str, Path)) and is_folder(config):
        then, place = run_folder.read(Path(config))
        config = make_config(then.model_dump(mode="json"), overrides)
        return _go(config, then, replace(place, common=common), emit, federation)
    config, base = open_config(config, overrides)
    config = config if name is None else config.model_copy(update={"name": check_name("--name", name)})
    folder = run_folder.newest(runs, config.name) if resume else None
    if folder and run_folder.is_begun(folder):
        then, place = run_folder.read(folder)
        return _go(config, then, replace(place, common=common), emit, federation)
    prepared = _prepare(config, base, federation)
    place = run_folder.begin(folder, config, base) if folder else run_folder.new(runs, config, base)
    begun.write(place.folder, _given(config, prepared[0]))
    return _start(config, prepared, replace(place, common=common), emit, federation)


def _go(config: RunConfig, then: RunConfig, place: Place, emit: Emit, federation: Path | None) -> Results:
    """Go on with a run. Raises InputError where configuration, data or models are not those that it was begun with."""
    run_folder.check_same(config, then, place.folder)
    prepared = _prepare(config, place.base, federation)
    if changed := begun.changed(place.folder, _given(config, prepared[0])):
        raise InputError(
            f"--resume: {', '.join(changed)}: they are not those that {str(place.folder)!r} was begun with; put them "
            "back, or begin a new run without --resume"
        )
    return _start(config, prepared, place, emit, federation)


def _given(config: RunConfig, task: TaskData) -> dict[str, str]:
    """Return digests of all that a run is given beside its configuration."""
    return {**begun.samples(task, [client.name for client in config.clients]), **begun.models(config)}


def _start(config: RunConfig, prepared: Prepared, place: Place, emit: Emit, federation: Path | None) -> Results:
    """Run here, or where the engine has it run."""
    if config.engine == "simulation":
        return simulate(config, place, emit)
    if config.engine == "deployment":
        assert federation is not None
        return deploy(config, place, emit, federation)
    with claimed(place.folder):
        return Run(config, place, emit, *prepared).go()


@for_owner()
def conduct(config: RunConfig, place: Place, grid: "Grid", binding: Binding | None = None) -> None:
    """Run the server's half over Flower's grid, in a process of Flower's."""
    prepared = _load(config, place.base)
    if changed := begun.changed(place.folder, _given(config, prepared[0])):
        raise FederationError(f"{', '.join(changed)}: changed since the run was handed to Flower; put them back")
    with claimed(place.folder):
        Run(config, place, ignore, *prepared, grid, binding).go()


def _prepare(config: RunConfig, base: Path, federation: Path | None = None) -> Prepared:
    """Return the task and the trackers; raise InputError for data, models or an engine that cannot be used."""
    if config.engine == "simulation":
        check_simulation()
    if config.engine == "deployment":
        check_deployment(config, federation)
    return _load(config, base)


def _load(config: RunConfig, base: Path) -> Prepared:
    """Return the task and the trackers; raise InputError for data or models that are not as they should be."""
    torch.set_num_threads(1)  # the bits of a sum depend on how many threads share it
    task = read_task(config, base)
    objective, host = config.make_objective(), config.make_host()
    first = host.plan(1, objective) if config.rounds else ()
    k = objective.soft.k if objective.soft else 0
    check_sizes(config.limits, first, task.public, k, config.make_codecs())
    trackers = config.make_trackers()
    models = {"server": config.server.model, **{f"clients.{c.name}": c.model for c in config.clients}}
    alike = {model.model_dump_json(): (model, owner) for owner, model in reversed(models.items()) if model is not None}
    for model, owner in reversed(alike.values()):  # of clients that are alike, the first one is looked at
        check_model(model, owner)
    return task, trackers


class Run:
    """One run under way."""

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
        """`grid` reaches the clients; without one they work on this machine. `binding` says which node is whose, where
        that is bound."""
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
        self._agreements: dict[tuple[str, int], float | None] = {}
        self._theirs: tuple[int, dict[str, ReasoningPath]] = (-1, {})
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
        """Take up what was noted in the rounds before, which its checkpoint does not repeat."""
        since, (noted, lost) = self._party.report, self._rounds.read()
        noted.add({name: getattr(since, name) for name in PartyReport.model_fields})
        self._party.noted = noted
        for text in lost:
            self._note(text)

    def _note(self, text: str) -> None:
        """Tell the user, once, also in results.json."""
        if not self._party.noted.has("notices", text):
            self._party.note(notices=(text,))

    def _tell_lost(self, damage: str) -> None:
        """Say what of the ledger is lost: `damage`, and rows that it had when the last round was over."""
        before = crossed(self.config.server.name, self.place)
        if damage or len(self._earlier) < before:
            lost = max(before - len(self._earlier), 0)
            self._note(
                f"the ledger lost rows ({damage or 'they are gone'}): {lost} of the {before} that it had by the end of "
                f"round {self._done}; what the journal has of them was entered again, and the traffic lacks the rest"
            )

    def emit(self, event: dict[str, Any]) -> None:
        """Write one event and hand it on; called from several threads."""
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
        """Go through the rounds with the clients, wherever these are."""
        config, place = self.config, self.place
        names = [client.name for client in config.clients]
        rules = Rules(
            config.timeout,
            {client.name: client.timeout for client in config.clients if client.timeout is not None},
            config.least_share,
            starting=STARTING if self._grid else 0.0,
            message_bytes=config.limits.max_message_bytes,
            reply_bytes=config.limits.reply_bytes,
        )
        common: dict[str, Any] = {
            "rules": rules,
            "folder": place.folder,
            "describe": wire.describe(self._party.codecs),
            "earlier": self._earlier,
            "journal": self._journal,
            "on_missing": lambda missing: self._party.note(missing=(missing,)),
            "on_timed": lambda times: self._party.note(exchanges=(times,)),
            "guard": Guard(config.make_host(), self._party),
            "emit": self.emit,
        }
        if config.engine != "deployment":
            common["cause"] = lambda client, reference: find(place.party(client), reference)
        if self._grid is None:
            nodes = dict.fromkeys(names, node_config(config, place))
            open_node = "lada.federation.nodes:open_node"
            run_local(open_node, nodes, self._serve, workers=config.workers, **common)
        else:
            far = config.engine == "deployment"
            terms = terms_of(config, self.task, place) if far else None
            run = run_id(place) if far else place.folder.name
            serve_on(self._grid, names, self._serve, run=run, terms=terms, binding=self._binding, **common)

    def _end(self, status: Status) -> Results:
        """Write the results, also before the trackers get to send what they have left, which may take its time."""
        if self._binding:
            self._party.note(notices=tuple(self._binding.notices()))
        self._tell_traffic(read(self.place.folder))
        self._write(self._results())
        self._feed.finish(status)
        self.emit({"kind": "end", "status": status})
        results = self._results()
        self._write(results)
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
            place.journal(party.name).prune({str(round)})  # the checkpoint before this one needs it to come here again
            self._tell_agreement(new)
            self._tell_traffic(exchange.ledger.rows)
            if not round & (round - 1):
                # A run that breaks later keeps what it had. All of it is written each time that rounds have doubled, so
                # that a round costs the same however many came before.
                self._write(self._results())
            self._feed.log()
        collect(party, exchange.ask(FINISH, self.config.rounds, {n: {} for n in self.config.drawn(0)}).wait())
        party.note(parties=(describe(party),), notices=notices_after(party))

    def _journal(self, round: int) -> Journal:
        return self.place.journal(self.config.server.name).at(str(round))

    def _results(self) -> Results:
        report = self._party.report
        return Results(
            name=self.config.name,
            config=self.config.model_dump(mode="json"),
            environment=environment(self._party.learner.device),
            parties=report.parties,
            evaluations=tuple(sorted(map(self._with_agreement, report.evaluations), key=lambda e: (e.round, e.party))),
            studies=tuple(sorted(report.studies, key=lambda s: (s.round, s.party, s.phase))),
            allocations=tuple(sorted(report.allocations, key=lambda a: (a.round, a.teacher, a.student))),
            traffic=self._traffic(),
            shown=tuple(self._shown()),
            notices=report.notices,
            missing=report.missing,
            memberships=tuple(sorted(report.memberships, key=lambda m: (m.party, m.attack))),
            withheld=tuple(sorted(report.withheld, key=lambda w: (w.round, w.party))),
            noisy=tuple(sorted(self.task.noisy)),
            wall_clock=WallClock(
                started=datetime.fromtimestamp(self.place.started, UTC).isoformat(timespec="seconds"),
                seconds=round(max(self._now() - self._paused, 0.0), 3),
                phases=tuple(sorted(report.phases, key=lambda p: (p.start, p.party))),
                exchanges=report.exchanges,
            ),
        )

    def _write(self, results: Results) -> None:
        """Write results.json and allocations.parquet, each as a whole."""
        folder = self.place.folder
        rows = partial(gather, folder / "clients", leave_out=self._leave_out)
        seal_written(folder / "allocations.parquet", rows)
        seal(folder / "results.json", results.model_dump_json(indent=1).encode() + b"\n")

    def _leave_out(self, file: Path, error: Exception) -> None:
        self._note(f"{file.relative_to(self.place.folder)} is left out ({error})")

    def _traffic(self) -> tuple[Traffic, ...]:
        """Return what crossed the wire, with the server under its own name."""
        names = {SERVER: self.config.server.name}
        return tuple(
            row.model_copy(
                update={
                    "sender": names.get(row.sender, row.sender),
                    "receiver": names.get(row.receiver, row.receiver),
                }
            )
            for row in traffic(read(self.place.folder))
        )

    def _tell_agreement(self, new: PartyReport) -> None:
        """Announce how often each client's answers are the server's, which takes the answers of both."""
        for evaluation in sorted(map(self._with_agreement, new.evaluations), key=lambda e: (e.round, e.party)):
            if evaluation.agreement is not None:
                share = {"party": evaluation.party, "round": evaluation.round, "share": evaluation.agreement}
                self.emit({"kind": "agreement", **share})

    def _tell_traffic(self, rows: Sequence[Row]) -> None:
        """Announce what of all that crossed the wire, the `rows`, crossed since the last time."""
        for row in by_phase(rows[self._told :]):
            self.emit({"kind": "traffic", **row})
        self._told = len(rows)

    def _test_paths(self, party: str, round: int) -> dict[str, ReasoningPath]:
        file = self.place.party(party) / f"test-paths-{round}.arrow"
        try:
            if not file.exists() and not is_sealed(file):  # not written yet, or at a client that is elsewhere
                return {}
            return decode(unseal(file), known_ids=None).by_id()
        except LadaError as error:
            self._leave_out(file, error)
            return {}

    def _with_agreement(self, evaluation: Evaluation) -> Evaluation:
        """Add to a client's evaluation how often its answer is the server's of the same round, looked up once."""
        if evaluation.party == self.config.server.name:
            return evaluation
        key = evaluation.party, evaluation.round
        if key not in self._agreements:
            self._agreements[key] = self._agreement(*key)
        return evaluation.model_copy(update={"agreement": self._agreements[key]})

    def _agreement(self, client: str, number: int) -> float | None:
        if self._theirs[0] != number:
            self._theirs = number, self._test_paths(self.config.server.name, number)
        theirs, own = self._theirs[1], self._test_paths(client, number)
        both = own.keys() & theirs.keys()
        if not both:
            return None
        return round(agreement([own[i] for i in both], [theirs[i] for i in both], self.task.same), 4)

    def _shown(self) -> list[Shown]:
        """Pick test questions, the same for all clients, and show what was written before and after."""
        rounds = self.config.rounds
        teacher = self._test_paths(self.config.server.name, rounds)
        order = generator(self.config.seed, "shown").permutation(len(self.task.test))[:SHOWN]
        shown = []
        for client in self.config.clients[:SHOWN_CLIENTS]:
            before, after = self._test_paths(client.name, 0), self._test_paths(client.name, rounds)
            sides = (before, teacher, after)
            for sample in (self.task.test[int(i)] for i in sorted(order)):
                if any(sample.id not in side for side in sides):
                    continue
                paths = [side[sample.id] for side in sides]
                steps = [self._steps(sample, path.text) for path in paths]
                right = [bool(path.right) for path in paths]
                shown.append(
                    Shown(
                        sample_id=sample.id,
                        question=sample.question,
                        answer=sample.answer,
                        domain=sample.domain,
                        difficulty=sample.difficulty,
                        party=client.name,
                        before=steps[0],
                        teacher=steps[1],
                        after=steps[2],
                        before_right=right[0],
                        teacher_right=right[1],
                        after_right=right[2],
                    )
                )
        return shown

    def _steps(self, sample: Sample, text: str) -> list[tuple[str, bool | None]]:
        if self.task.steps is None:
            return [(text, None)]
        steps: list[tuple[str, bool | None]] = [(step, right) for step, right in self.task.steps(sample, text) if step]
        return steps or [(text, False)]
