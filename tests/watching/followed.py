"""A run of a server and two clients, told in events whose figures can be added up by eye."""

import json
from pathlib import Path

STARTED = 1_000_000.0


def percent(value: float) -> dict:
    return {"value": value, "low": value - 1, "high": value + 1, "count": 10}


def evaluation(time: float, party: str, round: int, overall: float, own: float | None = None) -> dict:
    scopes = {"overall": percent(overall), "own": None if own is None else percent(own), "other": None, "general": None}
    return {"kind": "evaluation", "time": time, "party": party, "round": round, **scopes}


def message(time: float, party: str, round: int, phase: str, direction: str, size: int) -> dict:
    where = {"party": party, "round": round, "phase": phase}
    return {"kind": "message", "time": time, **where, "direction": direction, "bytes": size}


def progress(time: float, verb: str, done: int, tokens: int, seconds: float) -> dict:
    where = {"party": "a", "round": 1, "phase": "private"}
    return {"kind": "progress", "time": time, **where, "verb": verb, "done": done, "total": 4} | {
        "tokens": tokens,
        "seconds": seconds,
    }


EVENTS: list[dict] = [
    {"kind": "run", "time": 1.0, "name": "demo", "folder": "/f", "rounds": 2, "server": "llm", "clients": ["a", "b"]},
    {"kind": "round", "time": 2.0, "round": 0, "rounds": 2},
    message(3.0, "a", 0, "evaluate", "down", 10),
    message(3.0, "b", 0, "evaluate", "down", 20),
    {"kind": "phase", "time": 3.5, "party": "llm", "round": 0, "phase": "evaluate"},
    message(5.0, "a", 0, "evaluate", "up", 100),
    {"kind": "missing", "time": 6.0, "party": "b", "round": 0, "phase": "evaluate", "why": "silent (no reply)"},
    {"kind": "timing", "time": 6.5, "party": "llm", "round": 0, "phase": "evaluate", "start": 3.5, "seconds": 3.0},
    evaluation(7.0, "a", 0, 20.0, 50.0),
    evaluation(7.0, "llm", 0, 60.0),
    {"kind": "notice", "time": 7.5, "text": "a: a batch was halved"},
    {"kind": "round", "time": 8.0, "round": 1, "rounds": 2},
    message(8.5, "a", 1, "contribute", "down", 1),
    message(8.5, "b", 1, "contribute", "down", 2),
    {"kind": "phase", "time": 9.0, "party": "a", "round": 1, "phase": "private"},
    progress(10.0, "study", 2, 300, 2.0),
    progress(11.0, "study", 4, 500, 4.0),
    progress(12.0, "answer", 1, 90, 7.0),
]
MORE: list[dict] = [
    message(13.0, "a", 1, "contribute", "up", 1000),
    evaluation(14.0, "a", 1, 32.5, 75.0),
    {"kind": "study", "time": 15.0, "party": "a", "round": 1, "phase": "private"}
    | {"tokens": 500, "first_loss": 2.0, "last_loss": "NaN"},
    {"kind": "end", "time": 16.0, "status": "finished"},
]


def line(event: object) -> str:
    return json.dumps(event) + "\n"


def folder(path: Path, events: list[dict]) -> Path:
    """Write the folder of a run."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "place.json").write_text(json.dumps({"base": "/f", "started": STARTED}), encoding="utf-8")
    (path / "events.jsonl").write_text("".join(map(line, events)), encoding="utf-8")
    return path
