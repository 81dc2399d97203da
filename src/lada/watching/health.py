"""The progress of a run, updated event by event. Anything not measured yet is None."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NOTICES = 5
"""How many of the latest notices are kept."""
SCOPES = ("overall", "own", "other", "general")


@dataclass(slots=True)
class Work:
    """The work that a party is doing."""

    round: int
    phase: str
    verb: str | None = None
    done: int = 0
    total: int = 0
    tokens: int = 0
    """Tokens since the verb began."""
    since: float = 0.0
    """When the verb began; `seconds` is when it was last heard of. Both are seconds since the phase began."""
    seconds: float = 0.0

    @property
    def speed(self) -> float | None:
        """Tokens per second since the verb began; None before the first."""
        spent = self.seconds - self.since
        return self.tokens / spent if self.tokens and spent > 0 else None


@dataclass(slots=True)
class PartyHealth:
    """One party. Times are seconds since the run began."""

    doing: str = "nothing"
    """`asked` (a message is on its way to it), `working`, `answered`, `missing`, `failed` (the run ended over it), or
    `nothing`."""
    work: Work | None = None
    """The latest known phase; it is over if the party is neither asked nor working."""
    seen: float | None = None
    """When it last reported progress or replied."""
    sent: int = 0
    received: int = 0
    messages: int = 0
    error: str | None = None
    """Why this party made the run fail."""
    missed: dict[tuple[int, str], str] = field(default_factory=dict)
    """The rounds and phases in which it was missing, and why; newest last."""
    before: dict[str, float] = field(default_factory=dict)
    """Accuracy in round 0 by scope, percent."""
    accuracy: dict[str, float] = field(default_factory=dict)
    """Accuracy in `evaluated`, the last round in which it was evaluated, by scope, percent."""
    evaluated: int | None = None
    losses: dict[str, tuple[int, float, float]] = field(default_factory=dict)
    """For each phase: the round of the last study, its first and its last loss; newest last."""
    told_tokens: int = 0
    """Tokens worked on, from its progress events; repeated work counts twice."""
    studied_tokens: int = 0
    """Tokens studied, from its study events."""

    @property
    def tokens(self) -> int:
        """Tokens worked on, as far as is known: without progress events, as for remote clients, the tokens studied."""
        return max(self.told_tokens, self.studied_tokens)

    @property
    def change(self) -> float | None:
        """The change of accuracy over all domains since round 0, percentage points."""
        if "overall" not in self.before or "overall" not in self.accuracy:
            return None
        return self.accuracy["overall"] - self.before["overall"]


class Health:
    """The state of a run, computed from its events in the order in which they were written."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.server: str | None = None
        self.round: int | None = None
        self.rounds: int | None = None
        self.begun = False
        """Whether a round has begun since the run started or was resumed."""
        self.status: str | None = None
        """How the run ended; None while it runs, or if it was killed."""
        self.time = 0.0
        """When the last event was written, in seconds since the run began."""
        self.parties: dict[str, PartyHealth] = {}
        self.notices: deque[str] = deque(maxlen=NOTICES)
        self.unreadable = 0
        """Events that lack a field of their kind."""

    def take(self, event: Mapping[str, Any]) -> None:
        """Take one event; an unknown kind updates only the time."""
        fold = getattr(self, f"_on_{event.get('kind')}", None)
        try:
            now = float(event["time"])
            if fold:
                fold(event, now)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            self.unreadable += 1
            return
        self.time = max(self.time, now)

    def _party(self, name: str) -> PartyHealth:
        return self.parties.setdefault(str(name), PartyHealth())

    def _on_run(self, event: Mapping[str, Any], now: float) -> None:
        """Start or resume: whatever a party was doing before is over."""
        names = [event["server"], *event["clients"]] if "server" in event else []
        self.name, self.rounds, self.status = event["name"], int(event["rounds"]), None
        self.server, self.begun = event.get("server"), False
        for name in names:
            self._party(name)
        for party in self.parties.values():
            party.doing, party.error = "nothing", None

    def _on_round(self, event: Mapping[str, Any], now: float) -> None:
        self.round, self.rounds, self.begun = int(event["round"]), int(event["rounds"]), True

    def _on_phase(self, event: Mapping[str, Any], now: float) -> None:
        work = Work(int(event["round"]), event["phase"])
        party = self._party(event["party"])
        party.work, party.doing, party.seen = work, "working", now

    def _on_progress(self, event: Mapping[str, Any], now: float) -> None:
        new = Work(int(event["round"]), event["phase"], event["verb"], int(event["done"]), int(event["total"]))
        new.tokens, new.seconds = int(event["tokens"]), float(event["seconds"])
        party, tokens = self._party(event["party"]), new.tokens
        if (old := party.work) and (old.round, old.phase) == (new.round, new.phase):
            if old.verb == new.verb and old.done < new.done:
                new.since, tokens = old.since, max(new.tokens - old.tokens, 0)
            else:
                new.since = old.seconds
        party.told_tokens += tokens
        party.work, party.doing, party.seen = new, "working", now

    def _on_timing(self, event: Mapping[str, Any], now: float) -> None:
        """The server reports its own phases when they are over, and a client's phase after its reply."""
        party = self._party(event["party"])
        if event["party"] == self.server:
            party.doing, party.seen = "nothing", now

    def _on_message(self, event: Mapping[str, Any], now: float) -> None:
        party, size = self._party(event["party"]), int(event["bytes"])
        where = int(event["round"]), str(event["phase"])
        server = self._party(self.server) if self.server else PartyHealth()
        party.messages += 1
        server.seen = now
        if event["direction"] == "down":
            party.received, server.sent = party.received + size, server.sent + size
            party.work, party.doing = Work(*where), "asked"
        else:
            party.sent, server.received = party.sent + size, server.received + size
            party.doing, party.seen = "answered", now

    def _on_missing(self, event: Mapping[str, Any], now: float) -> None:
        where, why = (int(event["round"]), str(event["phase"])), str(event["why"])
        party = self._party(event["party"])
        party.missed.pop(where, None)  # a resumed run reports it again
        party.missed[where] = why
        party.doing = "missing"

    def _on_failure(self, event: Mapping[str, Any], now: float) -> None:
        work, why = Work(int(event["round"]), str(event["phase"])), str(event["why"])
        party = self._party(event["party"])
        party.work, party.doing, party.error = work, "failed", why

    def _on_evaluation(self, event: Mapping[str, Any], now: float) -> None:
        round = int(event["round"])
        accuracy = {scope: float(event[scope]["value"]) for scope in SCOPES if event.get(scope)}
        party = self._party(event["party"])
        party.evaluated, party.accuracy = round, accuracy
        if round == 0:
            party.before = accuracy

    def _on_study(self, event: Mapping[str, Any], now: float) -> None:
        loss = int(event["round"]), float(event["first_loss"]), float(event["last_loss"])
        tokens, phase = int(event["tokens"]), str(event["phase"])
        party = self._party(event["party"])
        party.losses.pop(phase, None)
        party.losses[phase] = loss
        party.studied_tokens += tokens

    def _on_notice(self, event: Mapping[str, Any], now: float) -> None:
        self.notices.append(str(event["text"]))

    def _on_end(self, event: Mapping[str, Any], now: float) -> None:
        self.status = str(event["status"])
        for party in self.parties.values():
            if party.doing in ("asked", "working"):
                party.doing = "nothing"
