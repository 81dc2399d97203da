"""Counts the requests to an API, and decides when the next may be sent."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from lada.core.errors import LadaError
from lada.core.plural import plural
from lada.models.api_options import Budget, Prices


class ApiError(LadaError):
    """The API does not answer, or the budget is spent. Answers so far are in the cache."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Counts of tokens."""

    input: int = 0
    output: int = 0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.input + other.input, self.output + other.output)

    def __sub__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.input - other.input, self.output - other.output)

    def cost(self, prices: Prices | None) -> float:
        """Return their cost; 0 without prices."""
        return (self.input * prices.input + self.output * prices.output) / 1e6 if prices else 0.0


class Meter:
    """Counts requests and tokens across threads, and keeps them within the budget."""

    def __init__(self, budget: Budget, prices: Prices | None) -> None:
        self._budget, self._prices = budget, prices
        self._changed = threading.Condition()
        self._under_way = 0
        self._held = Tokens()
        self.requests = 0
        self.spent = Tokens()

    def reserve(self, most: Tokens) -> None:
        """Reserve budget for a request of at most that many tokens; waits if pending requests may still leave room for
        it.

        Raises ApiError, before anything is sent, if the budget has no room.
        """
        with self._changed:
            while fault := self._lacks(most):
                if not self._under_way:
                    raise ApiError(f"model.api.budget.{fault} has no room for another request; spent: {self}")
                self._changed.wait()
            self.requests += 1
            self._under_way += 1
            self._held += most

    def settle(self, most: Tokens, spent: Tokens) -> None:
        """Replace a request's reservation by its real cost."""
        with self._changed:
            self._under_way -= 1
            self._held -= most
            self.spent += spent
            self._changed.notify_all()

    def _lacks(self, most: Tokens) -> str:
        """Return the limit that another request could exceed, as `name: value`; empty if none."""
        budget, then = self._budget, self.spent + self._held + most
        limits = (
            ("requests", budget.requests, self.requests + 1),
            ("tokens", budget.tokens, then.input + then.output),
            ("cost", budget.cost, then.cost(self._prices)),
        )
        return next((f"{name}: {most}" for name, most, value in limits if most is not None and value > most), "")

    def __str__(self) -> str:
        told = f"{self.requests:,} {plural(self.requests, 'request')}, {self.spent.input:,} input and "
        told += f"{self.spent.output:,} output {plural(self.spent.output, 'token')}"
        return f"{told}, cost {self.spent.cost(self._prices):.4f}" if self._prices else told


class Pacer:
    """Spreads requests evenly over a minute."""

    def __init__(self, per_minute: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._gap = 60 / per_minute if per_minute else 0.0
        self._clock = clock
        self._next = float("-inf")
        self._lock = threading.Lock()

    def delay(self) -> float:
        """Take the next place in the queue and return the seconds until its turn."""
        with self._lock:
            now = self._clock()
            start = max(now, self._next)
            self._next = start + self._gap
            return start - now
