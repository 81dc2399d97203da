"""A federation whose clients share one SLM, of which the server has a copy."""

from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import numpy as np
from actors import Federation, ScriptedLearner, federation

from lada.codecs import adapters
from lada.models.base import Studies, Study
from lada.rounds.noted import Noted
from lada.rounds.party import SHARED_SLM, Party

KNOWS: dict[str, set[int]] = {"llm": set(), "a": set(), "b": set()}
GOLD = {f"p{i}": f"answer gold{i}" for i in range(5)}
SLM = Study(steps=7)
NONE = {"private": 0.0, "paths": 0.0, "general": 0.0}


def sharing(folder: FilePath, host: str, options: dict[str, Any], **more: Any) -> tuple[Federation, ScriptedLearner]:
    """Return a federation, and the learner of the server's SLM, which forgets its adapter between rounds."""
    both = federation(folder, host, KNOWS, options, **{"allocator": "all", **more})
    learner = ScriptedLearner({})

    def open_slm() -> Party:
        learner.weights = np.full(2, 9.0, np.float32)
        return replace(
            both.server,
            name=SHARED_SLM,
            role="client",
            learner=learner,
            studies=Studies(SLM, SLM),
            folder=both.server.folder.parent / SHARED_SLM,
            noted=Noted(),
        )

    both.server.open_slm = open_slm
    return both, learner


def learns(both: Federation, name: str, weights: list[float]) -> None:
    """Let a client's private study end with this adapter."""
    learner: Any = both.clients[name].learner
    usual = type(learner).study

    def study(*args: Any, **options: Any) -> Any:
        learner.weights = np.array(weights, np.float32)
        return usual(learner, *args, **options)

    learner.study = study


def told(both: Federation, phase: str, receiver: str, round: int) -> list[float] | None:
    """Return the adapter that the server sent."""
    (payload,) = [m.payload for m in both.exchange.sent if (m.phase, m.receiver, m.round) == (phase, receiver, round)]
    return adapters.decode(payload["adapter"])[0]["lora"].tolist() if "adapter" in payload else None


def config(host: str) -> dict[str, Any]:
    """Return the configuration of a run in which two clients have one model."""
    model = {"model": "zoo:slm-llama", "tune": "lora"}
    return {
        "server": {"model": {"model": "zoo:llm-world-0"}},
        "clients": [{"name": name, "model": model} for name in ("one", "two")],
        "host": host,
        "plugin": "none",
    }
