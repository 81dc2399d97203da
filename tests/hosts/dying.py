"""A client that dies in a round of its own choice, for runs in one process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from lada.hosts.standalone import Standalone


@contextmanager
def dying(name: str, round: int) -> Iterator[None]:
    """Let a client fail at whatever it is asked in a round, on host `standalone`."""
    reply = Standalone.reply

    def broken(self: Any, phase: str, party: Any, now: int, payload: Any) -> Any:
        if (party.name, now) == (name, round) and phase != "finish":
            raise RuntimeError("no power")
        return reply(self, phase, party, now, payload)

    with patch.object(Standalone, "reply", broken):
        yield
