"""Trackers that record what they are told, and events by hand."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lada.trackers.base import Status


@dataclass
class Recorder:
    """A tracker that remembers; it raises in the call that `breaks` names."""

    breaks: str = ""
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def start(self, name: str, config: Mapping[str, Any], folder: Path) -> None:
        self._called("start", name, config, folder)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._called("log", step, dict(metrics))

    def finish(self, status: Status) -> None:
        self._called("finish", status)

    def _called(self, *call: Any) -> None:
        self.calls.append(call)
        if call[0] == self.breaks:
            raise OSError("https://me:hunter2@host is full")


def interval(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 5, "high": value + 5, "count": 4}


def evaluation(party: str, round: int, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "evaluation",
        "party": party,
        "round": round,
        "overall": interval(50.0),
        "own": interval(75.0),
        "other": None,
        "general": None,
        "domains": {"farm": interval(75.0)},
        "difficulty": {"2": interval(40.0)},
        "step_validity": None,
        "calibration_error": 0.25,
        "agreement": None,
    } | changes


def timing(party: str, round: int, phase: str, seconds: float) -> dict[str, Any]:
    return {"kind": "timing", "party": party, "round": round, "phase": phase, "start": 0.0, "seconds": seconds}


def progress(party: str, round: int, phase: str, done: int, tokens: int) -> dict[str, Any]:
    """Return the progress of a verb that has four to do."""
    return {
        "kind": "progress",
        "party": party,
        "round": round,
        "phase": phase,
        "verb": "answer",
        "done": done,
        "total": 4,
        "tokens": tokens,
        "seconds": 0.5,
    }


def study(party: str, round: int, phase: str, last: Any = 1.0) -> dict[str, Any]:
    return {
        "kind": "study",
        "party": party,
        "round": round,
        "phase": phase,
        "steps": 3,
        "lessons": 16,
        "pairs": 0,
        "soft": 0,
        "replayed": 2,
        "tokens": 300,
        "first_loss": 2.0,
        "last_loss": last,
    }


def traffic(round: int, phase: str, content: str, up: int, down: int) -> dict[str, Any]:
    return {
        "kind": "traffic",
        "round": round,
        "phase": phase,
        "content": content,
        "messages": 2,
        "up": up,
        "down": down,
    }
