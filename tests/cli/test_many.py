"""What the terminal tells of many clients: where they lie and who stands out, in tables that fit a screen."""

import io
from statistics import median
from typing import Any

import pytest
from rich.console import Console, RenderableType
from synthetic_run import make_results

from lada.cli.planned import plan_tables, told_once
from lada.cli.summary import cut, summary
from lada.cli.tables import task_tables
from lada.cli.watched import shown
from lada.core.results import Results, Traffic
from lada.core.terms import Sample
from lada.planning.plan import DevicePlan, PartyPlan, PartyTime, Plan
from lada.tasks.data import TaskData
from lada.watching.live import LiveView
from lada.watching.watch import PartySnapshot, Snapshot

CLIENTS = tuple(f"phone-{i:03d}" for i in range(120))
WIDTH = 110


def printed(*what: RenderableType) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, force_terminal=False, color_system=None)
    for each in what:
        console.print(each)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= WIDTH
    return lines


@pytest.fixture(scope="module")
def results() -> Results:
    return make_results(CLIENTS, rounds=1)


def test_a_run_closes_with_a_table_of_a_screen(results: Results):
    lines = printed(summary(results))
    assert len(lines) < 40
    ends = [(results.of(c, 0).overall.value, results.of(c, 1).overall.value) for c in CLIENTS]
    row = next(line for line in lines if "120 clients, median" in line)
    before, after = (median(column) for column in zip(*ends, strict=True))
    assert f"{before:.1f} → {after:.1f}" in row
    ranked = sorted(CLIENTS, key=lambda c: (results.of(c, 0).overall.value - results.of(c, 1).overall.value, c))
    named = [c for line in lines for c in CLIENTS if line.startswith(f"{c} ")]
    assert named == ranked[:5] + ranked[-5:]
    assert sum("llm (server)" in line for line in lines) == 1
    assert "report.html finds each" in " ".join(lines)


def test_long_lists_say_how_many_are_left_out():
    assert cut(["a", "b"], most=2) == ["a", "b"]
    assert cut(["a", "b", "c"], most=2) == ["a", "b", "and 1 more, see results.json"]


def party(name: str, role: str, model: str = "m") -> PartyPlan:
    return PartyPlan(
        name=name, role=role, model=model, device="cpu", private=3, studies=(), prompt=9, completion=9, mean=5.0,
        lengths="measured", shape="s", memory=None, note="" if role == "server" else "nobody knows its size",
    )  # fmt: skip


def plan(clients: tuple[str, ...]) -> Plan:
    traffic = [Traffic(round=1, sender=name, receiver="llm", kind="paths", messages=1, bytes=1000) for name in clients]
    device = DevicePlan(
        device="cpu", parties=("llm", *clients), missing=clients, needed=1, free=2, total=3, at_once=2, remedies=None
    )
    return Plan(
        name="p", methods={"host": "fedmkt", "allocator": "lada"}, rounds=1, public=5, test=4, data="built in",
        parties=(party("llm", "server"), *(party(c, "client", "m" if c != clients[-1] else "n") for c in clients)),
        schedule=(), traffic=tuple(traffic), devices=(device,), seconds=360.0, notices=(), faults=(),
        times=tuple(PartyTime(party=name, studying=2.0, answering=1.0, reading=0.5) for name in clients),
    )  # fmt: skip


def test_clients_that_are_alike_are_planned_once():
    told = told_once(plan(CLIENTS))
    alike = "phone-000 to phone-118 (119 clients)"
    assert [each.name for each in told.parties] == ["llm", alike, "phone-119"]
    assert [(row.sender, row.messages, row.bytes) for row in told.traffic] == [
        (alike, 119, 119_000),
        ("phone-119", 1, 1000),
    ]
    assert told.devices[0].parties == ("llm", alike, "phone-119")
    assert told.devices[0].missing == (alike, "phone-119")
    assert [(time.party, time.seconds) for time in told.times] == [(alike, 3.5), ("phone-119", 3.5)]
    assert len(printed(*plan_tables(plan(CLIENTS)))) < 60
    assert told_once(plan(CLIENTS[:50])) == plan(CLIENTS[:50])


def test_a_task_lists_some_clients_and_counts_the_others():
    samples = {c: (Sample(f"{c}-0", f"q {c}", "1", domain="farm"), Sample(f"{c}-1", "q", "1")) for c in CLIENTS}
    task = TaskData(
        public=(), private=samples, test=(), replay=(), own_domains={}, general=frozenset(), extract=lambda text: text,
        same=lambda a, b: a == b, steps=None,
    )  # fmt: skip
    lines = printed(*task_tables(task, 1))
    row = next(line for line in lines if "private of 117 more clients" in line)
    assert "234" in row
    assert "farm 117" in row
    assert sum("private of phone-" in line and "│" in line for line in lines) == 3


def test_a_run_tells_of_each_round_in_a_line():
    out = io.StringIO()
    view = LiveView(Console(file=out, width=WIDTH, force_terminal=False, color_system=None))
    value: dict[str, Any] = {"own": None, "other": None, "general": None}
    view.emit({"kind": "run", "name": "r", "folder": "runs/r", "clients": list(CLIENTS), "server": "llm"})
    for n, client in enumerate(CLIENTS):
        view.emit({"kind": "phase", "party": client, "round": 0, "phase": "private", "time": 1.0})
        view.emit(
            {"kind": "evaluation", "party": client, "round": 0, "time": 1.0, "overall": {"value": float(n)}, **value}
        )
    view.emit({"kind": "phase", "party": "llm", "round": 0, "phase": "evaluate", "time": 2.0})
    view.emit({"kind": "round", "round": 1, "rounds": 1, "time": 3.0})
    view.emit({"kind": "end", "status": "finished", "time": 4.0})
    assert out.getvalue().splitlines() == [
        "run r in runs/r",
        "120 clients: only means are shown here; `lada watch runs/r` lists each client",
        "[   2.0 s] llm: evaluate",
        "[   3.0 s] 120 clients after round 0: overall mean 59.5 %, least 0.0 %, 10 % 11.9 %, median 59.5 %, 90 % "
        "107.1 %, most 119.0 %",
        "[   3.0 s] round 1 of 1",
    ]


def test_who_watches_many_sees_how_many_do_what():
    def snapshot(name: str, doing: str) -> PartySnapshot:
        return PartySnapshot(
            name=name, doing=doing, round=None, phase=None, verb=None, done=None, total=None, tokens_per_second=None,
            tokens=0, last_seen=None, sent=0, received=0, missed=0, last_missed=None, evaluated=None, accuracy={},
            change=None, losses=(),
        )  # fmt: skip

    parties = [snapshot("llm", "nothing")]
    parties += [snapshot(c, "answered" if n < 100 else "missing") for n, c in enumerate(CLIENTS)]
    now = Snapshot(
        run="r", state="running", round=1, rounds=2, started=0.0, elapsed=5.0, parties=tuple(parties), notices=(),
        unreadable=0,
    )  # fmt: skip
    lines = printed(shown(now, 9.0, height=24))
    assert lines[1].strip() == "20 missing, 100 answered, 1 idle"
    assert len(lines) < 24
    assert sum(line.startswith("phone-") for line in printed(shown(now, 9.0))) == 120
