"""A realistic run folder without a run: three clients and `llm`, two rounds, rising accuracies, some noise."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lada.core.results import (
    AllocationRecord,
    ClientTime,
    Environment,
    Evaluation,
    ExchangeTime,
    Interval,
    PartyInfo,
    PhaseTime,
    Results,
    Shown,
    StudyRecord,
    Traffic,
    WallClock,
)

DOMAINS = ("bank", "clinic", "farm", "kitchen", "railway", "school", "warehouse")
CLIENTS = ("clinic", "kitchen", "warehouse")
SERVER = "llm"


def interval(value: float, count: int) -> Interval:
    """A normal interval around a percentage."""
    half = 196 * float(np.sqrt(value / 100 * (1 - value / 100) / count))
    return Interval(value=value, low=max(0.0, value - half), high=min(100.0, value + half), count=count)


def evaluation(party: str, round: int, owned: set[str], rng: np.random.Generator) -> Evaluation:
    """Clients start high on their own domain and low elsewhere, the LLM the other way round."""
    grown = 1 - 0.5**round
    server = party == SERVER
    domains = {}
    for name in DOMAINS:
        start, end = ((35, 84) if name in CLIENTS else (78, 80)) if server else ((88, 86) if name in owned else (9, 72))
        domains[name] = interval(round_to(start + (end - start) * grown + rng.normal(0, 1.5)), 60)

    def mean(names: set[str]) -> Interval:
        return interval(round_to(float(np.mean([domains[name].value for name in names]))), 60 * len(names))

    own = set(domains) - set(CLIENTS) if server else owned
    overall = mean(set(domains))
    difficulty = {f"{n}": interval(round_to(min(99.0, overall.value * (1.4 - 0.17 * n))), 105) for n in range(1, 5)}
    return Evaluation(
        party=party,
        round=round,
        overall=overall,
        own=mean(own),
        other=mean(set(domains) - own),
        general=interval(round_to(92 + rng.normal(0, 1)), 60),
        domains=domains,
        difficulty=difficulty,
        step_validity=round_to(40 + 45 * grown + rng.normal(0, 1)),
        calibration_error=round_to(0.22 - 0.12 * grown, 3),
        agreement=None if server else round_to(18 + 60 * grown),
        fidelity=None if server else round_to(9 + 50 * grown),
        self_bleu=round_to(60 + 20 * grown),
    )


def round_to(value: float, digits: int = 1) -> float:
    return float(np.round(value, digits))


def shown(party: str, i: int, rng: np.random.Generator) -> Shown:
    first, add = int(rng.integers(3, 9)), int(rng.integers(1, 5))
    total = first + add
    good: list[tuple[str, bool | None]] = [
        (f"a) pallet : {first} + {add} = {total} .", True),
        (f"b) spoil 2 : {total} - 2 = {total - 2} .", True),
    ]
    poor: list[tuple[str, bool | None]] = [(f"a) pallet : {first} + 1 = {first + 1} .", False), ("", False)]
    learnt = i % 4 != 3
    return Shown(
        sample_id=f"test-{i:05d}",
        question=f"{first} boxes in the warehouse . a) pallet . b) spoil 2 . how many boxes ?",
        answer=f"{total - 2}",
        domain=DOMAINS[i % len(DOMAINS)],
        difficulty=2,
        party=party,
        before=poor if i % 3 else good,
        teacher=good,
        after=[*(good if learnt else poor), (f"answer {total - 2}", None)],
        before_right=i % 3 == 0,
        teacher_right=True,
        after_right=learnt,
    )


def make_results(
    clients: tuple[str, ...] = CLIENTS, rounds: int = 2, name: str = "rulebooks-lada", seed: int = 7
) -> Results:
    """A whole run."""
    rng = np.random.default_rng(seed)
    owned = {client: {client} if client in DOMAINS else {"bank"} for client in clients}
    parties = (SERVER, *clients)
    studies, allocations, traffic, phases = [], [], [], []
    clock = 0.0
    for round in range(1, rounds + 1):
        for i, client in enumerate(clients):
            phases.append(PhaseTime(party=client, round=round, phase="private", start=clock, seconds=9.0 + i))
        clock += 12.5
        for sender, receiver in [(SERVER, c) for c in clients] + [(c, SERVER) for c in clients]:
            for kind, size in (("paths", 182_400 + 900 * round), ("metrics", 21_730)):
                traffic.append(
                    Traffic(round=round, sender=sender, receiver=receiver, kind=kind, messages=1, bytes=size)
                )
            allocations.append(
                AllocationRecord(teacher=sender, student=receiver, round=round, candidates=400, chosen=220 - 20 * round,
                                 from_teacher=150, right=81.5 + round, sound=70.5 + round, agreement=41.5,
                                 diagnostics={"auc": 0.71 + 0.05 * round, "explored": 0.12})
            )  # fmt: skip
        for party in parties:
            phases.append(PhaseTime(party=party, round=round, phase="write paths", start=clock, seconds=4.2))
            phases.append(PhaseTime(party=party, round=round, phase="distil", start=clock + 5, seconds=14.0))
            phases.append(PhaseTime(party=party, round=round, phase="evaluate", start=clock + 20, seconds=3.1))
            studies.append(
                StudyRecord(party=party, round=round, phase="distil", steps=400, lessons=6400, pairs=2100, replayed=800,
                            tokens=512_000, first_loss=1.832, last_loss=0.411)
            )  # fmt: skip
        clock += 25
    exchanges = tuple(
        ExchangeTime(round=round, phase="learn", waited=30.0, computing=21.5, exchange=8.5 + round,
                     clients=tuple(ClientTime(party=c, elapsed=33.0, computing=None, exchange=None) for c in clients))
        for round in range(1, rounds + 1)
    )  # fmt: skip
    return Results(
        name=name,
        config={"name": name, "seed": seed, "host": "fedmkt", "plugin": "lada", "rounds": rounds,
                "clients": {client: {"model": "slm-llama", "domains": sorted(owned[client])} for client in clients}},
        environment=Environment(lada="0.1.0", git="8375ee4", python="3.11.9", device="cpu, 4 threads",
                                packages={"torch": "2.13.0", "transformers": "5.23.0"}),
        parties=(
            PartyInfo(name=SERVER, role="server", model="llm-world-0", architecture="llama", parameters=1_123_456,
                      domains=(), private_samples=0, weights=f"{1:064x}"),
            *(PartyInfo(name=client, role="client", model="slm-llama", architecture=("llama", "gpt2", "olmo2")[i % 3],
                        parameters=412_000 + i, domains=tuple(sorted(owned[client])), private_samples=800,
                        weights=f"{i + 2:064x}")
              for i, client in enumerate(clients)),
        ),
        evaluations=tuple(
            evaluation(party, round, owned.get(party, set()), rng) for round in range(rounds + 1) for party in parties
        ),
        studies=tuple(studies),
        allocations=tuple(allocations),
        traffic=tuple(traffic),
        shown=tuple(shown(client, i, rng) for client in clients[:3] for i in range(6)),
        notices=("The corpus is synthetic and the models are tiny: the numbers say nothing about large models.",),
        wall_clock=WallClock(started="2026-02-03T10:00:00Z", seconds=clock + 3, phases=tuple(phases),
                             exchanges=exchanges),
    )  # fmt: skip


def make_candidates(results: Results, count: int = 400) -> pa.Table:
    """Candidates of every direction and round: easy ones score high, and the chosen are more often right."""
    rng = np.random.default_rng(3)
    rows = []
    for record in results.allocations:
        for i in range(count):
            difficulty = int(rng.integers(1, 5))
            score = float(np.clip(rng.normal(0.85 - 0.12 * difficulty, 0.16), 0, 1))
            chosen = score > 0.5
            from_teacher = bool(rng.random() < 0.7)
            rows.append(
                {
                    "round": record.round,
                    "teacher": record.teacher,
                    "student": record.student,
                    "sample_id": f"public-{i:05d}",
                    "domain": DOMAINS[i % len(DOMAINS)],
                    "difficulty": difficulty,
                    "score": score,
                    "chosen": chosen,
                    "source": ("teacher" if from_teacher else "student") if chosen else None,
                    "teacher_right": bool(rng.random() < 0.25 + 0.65 * score),
                    "student_right": bool(rng.random() < 0.6 * score),
                    "reason": ("teacher surer" if from_teacher else "own path surer") if chosen else "little to gain",
                }
            )
    return pa.Table.from_pylist(rows, schema=SCHEMA)


SCHEMA = pa.schema(
    [
        ("round", pa.int64()),
        ("teacher", pa.string()),
        ("student", pa.string()),
        ("sample_id", pa.string()),
        ("domain", pa.string()),
        ("difficulty", pa.int64()),
        ("score", pa.float64()),
        ("chosen", pa.bool_()),
        ("source", pa.string()),
        ("teacher_right", pa.bool_()),
        ("student_right", pa.bool_()),
        ("reason", pa.string()),
    ]
)


def write_run(folder: Path, results: Results, candidates: pa.Table | None = None) -> Path:
    """Write what a run leaves for the report; None: every candidate of `results`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(results.model_dump_json(), encoding="utf-8")
    pq.write_table(make_candidates(results) if candidates is None else candidates, folder / "allocations.parquet")
    return folder
