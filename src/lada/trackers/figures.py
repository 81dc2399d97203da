"""Turns a run's events into named figures. Only this module decides what trackers get: numbers and names."""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

SCOPES = ("overall", "own", "other", "general")
MANY_DOMAINS = 100
"""Evaluations with more domains than this are logged by scope only: dashboards cope with at most a few thousand
names."""
LENGTH = 80
"""Maximum characters of one part of a name; the strictest tracker allows 250 for a whole name."""


class Figures:
    """Adds up the figures of events, round by round."""

    def __init__(self) -> None:
        self._values: dict[int, dict[str, float]] = defaultdict(dict)
        self._tokens: dict[tuple[int, str, str], int] = defaultdict(int)
        self._seconds: dict[tuple[int, str, str], float] = defaultdict(float)

    def take(self, event: Mapping[str, Any]) -> None:
        """Take one event; events without a figure are ignored."""
        read = getattr(self, f"_on_{event['kind']}", None)
        if read:
            read(event)

    def by_round(self) -> dict[int, dict[str, float]]:
        """Return all figures by round and name."""
        rounds = {round: dict(values) for round, values in self._values.items()}
        for (round, party, phase), seconds in self._seconds.items():
            values = rounds.setdefault(round, {})
            values[name("seconds", party, phase)] = seconds
            tokens = self._tokens.get((round, party, phase))
            if tokens and seconds > 0:
                values[name("tokens_per_second", party, phase)] = tokens / seconds
        return dict(sorted(rounds.items()))

    def _on_evaluation(self, event: Mapping[str, Any]) -> None:
        values, party = self._values[event["round"]], event["party"]
        for scope in SCOPES:
            if interval := event[scope]:
                values[name("accuracy", party, scope)] = interval["value"]
                values[name("accuracy_low", party, scope)] = interval["low"]
                values[name("accuracy_high", party, scope)] = interval["high"]
        for group, intervals in (("domain", event["domains"]), ("difficulty", event["difficulty"])):
            if len(intervals) <= MANY_DOMAINS:
                for key, interval in intervals.items():
                    values[name("accuracy", party, group, key)] = interval["value"]
        for key in ("step_validity", "calibration_error"):
            if event[key] is not None:
                values[name(key, party)] = float(event[key])

    def _on_agreement(self, event: Mapping[str, Any]) -> None:
        self._values[event["round"]][name("agreement", event["party"])] = event["share"]

    def _on_study(self, event: Mapping[str, Any]) -> None:
        values, where = self._values[event["round"]], (event["party"], event["phase"])
        values[name("loss_first", *where)] = float(event["first_loss"])  # JSON holds a NaN loss as a text
        values[name("loss_last", *where)] = float(event["last_loss"])
        for key in ("lessons", "tokens"):
            values[name(key, *where)] = event[key]

    def _on_allocation(self, event: Mapping[str, Any]) -> None:
        values, pair = self._values[event["round"]], (event["teacher"], event["student"])
        for key in ("candidates", "chosen", "from_teacher", "right", "agreement"):
            if event[key] is not None:
                values[name("allocation", *pair, key)] = event[key]
        for key, value in event["diagnostics"].items():
            values[name("allocation", *pair, "diagnostics", key)] = float(value)

    def _on_traffic(self, event: Mapping[str, Any]) -> None:
        for way in ("up", "down"):
            if event[way]:
                self._values[event["round"]][name("bytes", event["phase"], event["content"], way)] = event[way]

    def _on_timing(self, event: Mapping[str, Any]) -> None:
        self._seconds[event["round"], event["party"], event["phase"]] += event["seconds"]

    def _on_progress(self, event: Mapping[str, Any]) -> None:
        if event["done"] >= event["total"]:
            self._tokens[event["round"], event["party"], event["phase"]] += event["tokens"]


def name(*parts: str) -> str:
    """Join parts into a name that every tracker accepts: each part keeps letters, digits, blanks and `_ - . :`."""
    return "/".join(re.sub(r"[^\w .:-]", "_", part)[:LENGTH].strip(" .") or "_" for part in parts)
