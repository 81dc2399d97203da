"""The results of a run, assembled from the server's records and the files in the run's folder."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from lada.codecs.paths import decode
from lada.config import RunConfig
from lada.core.errors import LadaError
from lada.core.results import Evaluation, PartyReport, Results, Shown, Traffic, WallClock
from lada.core.sealed import is_sealed, seal, seal_written, unseal
from lada.core.seeds import generator
from lada.core.terms import Path as ReasoningPath
from lada.core.terms import Sample
from lada.environment import environment
from lada.evaluation.agreement import agreement
from lada.evaluation.bleu import bleu, self_bleu
from lada.federation.ledger import read, traffic
from lada.federation.messages import SERVER
from lada.federation.parties import Place
from lada.rounds.records import gather
from lada.tasks.data import TaskData

SHOWN, SHOWN_CLIENTS = 24, 16
"""The number of test questions per client in the report's sample browser, and the most clients there."""


class Outcome:
    """The results of one run so far."""

    def __init__(
        self, config: RunConfig, task: TaskData, place: Place, leave_out: Callable[[Path, Exception], None]
    ) -> None:
        """`leave_out` receives each file that cannot be read, with the reason."""
        self._config, self._task, self._place = config, task, place
        self._leave_out = leave_out
        self._compared: dict[tuple[str, int], dict[str, float | None]] = {}
        self._theirs: tuple[int, dict[str, ReasoningPath]] = (-1, {})

    def results(self, report: PartyReport, device: str, seconds: float) -> Results:
        """Return the results from the server's records after `seconds` of the run; `device` is the server's."""
        return Results(
            name=self._config.name,
            config=self._config.model_dump(mode="json"),
            environment=environment(device),
            parties=report.parties,
            evaluations=tuple(sorted(map(self.with_agreement, report.evaluations), key=lambda e: (e.round, e.party))),
            studies=tuple(sorted(report.studies, key=lambda s: (s.round, s.party, s.phase))),
            allocations=tuple(sorted(report.allocations, key=lambda a: (a.round, a.teacher, a.student))),
            traffic=self._traffic(),
            shown=tuple(self._shown()),
            notices=report.notices,
            missing=report.missing,
            memberships=tuple(sorted(report.memberships, key=lambda m: (m.party, m.attack))),
            withheld=tuple(sorted(report.withheld, key=lambda w: (w.round, w.party))),
            augmentations=report.augmentations,
            noisy=tuple(sorted(self._task.noisy)),
            wall_clock=WallClock(
                started=datetime.fromtimestamp(self._place.started, UTC).isoformat(timespec="seconds"),
                seconds=round(max(seconds, 0.0), 3),
                phases=tuple(sorted(report.phases, key=lambda p: (p.start, p.party))),
                exchanges=report.exchanges,
            ),
        )

    def write(self, results: Results) -> None:
        """Write results.json and allocations.parquet, each atomically."""
        folder = self._place.folder
        rows = partial(gather, folder / "clients", leave_out=self._leave_out)
        seal_written(folder / "allocations.parquet", rows)
        seal(folder / "results.json", results.model_dump_json(indent=1).encode() + b"\n")

    def _traffic(self) -> tuple[Traffic, ...]:
        """Return the traffic, with the server under its own name."""
        names = {SERVER: self._config.server.name}
        return tuple(
            row.model_copy(
                update={
                    "sender": names.get(row.sender, row.sender),
                    "receiver": names.get(row.receiver, row.receiver),
                }
            )
            for row in traffic(read(self._place.folder))
        )

    def _test_paths(self, party: str, round: int) -> dict[str, ReasoningPath]:
        file = self._place.party(party) / f"test-paths-{round}.arrow"
        try:
            if not file.exists() and not is_sealed(file):  # not written yet, or at a remote client
                return {}
            return decode(unseal(file), known_ids=None).by_id()
        except LadaError as error:
            self._leave_out(file, error)
            return {}

    def with_agreement(self, evaluation: Evaluation) -> Evaluation:
        """Add to an evaluation what takes the party's paths, looked up once: self-BLEU and, for a client, how often its
        answer is the server's of the same round and how much of the wording they share."""
        key = evaluation.party, evaluation.round
        if key not in self._compared:
            self._compared[key] = self._compare(*key)
        return evaluation.model_copy(update=self._compared[key])

    def _compare(self, party: str, number: int) -> dict[str, float | None]:
        server = self._config.server.name
        if self._theirs[0] != number:
            self._theirs = number, self._test_paths(server, number)
        theirs = self._theirs[1]
        own = theirs if party == server else self._test_paths(party, number)
        figures = {"self_bleu": self_bleu(own[i].text for i in sorted(own))}
        both = [] if party == server else sorted(own.keys() & theirs.keys())
        if both:
            pairs = [own[i] for i in both], [theirs[i] for i in both]
            figures["agreement"] = agreement(*pairs, self._task.same)
            figures["fidelity"] = bleu(*([path.text for path in paths] for paths in pairs))
        return {name: value if value is None else round(value, 4) for name, value in figures.items()}

    def _shown(self) -> list[Shown]:
        """Pick test questions, the same for all clients, and show the paths before and after the run."""
        rounds = self._config.rounds
        teacher = self._test_paths(self._config.server.name, rounds)
        order = generator(self._config.seed, "shown").permutation(len(self._task.test))[:SHOWN]
        shown = []
        for client in self._config.clients[:SHOWN_CLIENTS]:
            before, after = self._test_paths(client.name, 0), self._test_paths(client.name, rounds)
            sides = (before, teacher, after)
            for sample in (self._task.test[int(i)] for i in sorted(order)):
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
        if self._task.steps is None:
            return [(text, None)]
        steps: list[tuple[str, bool | None]] = [(step, right) for step, right in self._task.steps(sample, text) if step]
        return steps or [(text, False)]
