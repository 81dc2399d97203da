"""One hostile client of several tries to move the average of their adapters out of the range of the honest ones.

It sends huge, tiny and flipped numbers, what is no number, and zeros behind 999,999,999 samples, on every host that
averages and with every rule. Part of the numbers are beyond ±10,000, which no adapter may hold, and are refused; the
others lie just within, and meet the bounds of the average. It succeeds where a round ends early, or where what the
server hands out is not finite or lies, in any coordinate, outside the honest clients' values. An average of products is
cut to a low rank after it was held; there it succeeds where its norm is above that of the greatest absolute values that
honest clients sent.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import harness
import numpy as np
from actors import Federation, ScriptedLearner, federation, make, make_party
from safetensors.numpy import save
from sharing import NONE, sharing

from lada.aggregators.factors import pairs
from lada.codecs import adapters
from lada.core.errors import CodecError
from lada.objectives.base import OBJECTIVES
from lada.rounds.averaging import ADAPTER
from lada.rounds.base import Look, Payload
from lada.rounds.checks import check_parts
from lada.rounds.reports import report_payload

Weights = dict[str, np.ndarray]
A, B = "m.q.lora_A.default.weight", "m.q.lora_B.default.weight"
FOLDER = TemporaryDirectory()
UNUSED = Path(FOLDER.name)
WITHIN = adapters.GREATEST - 1
LARGEST = float(np.finfo(np.float32).max)
LIES: dict[str, tuple[Callable[[np.ndarray, np.random.Generator], Any], int]] = {
    "3e38": (lambda own, _: np.full_like(own, 3e38), 10),
    "-3e38, all samples": (lambda own, _: np.full_like(own, -3e38), 999_999_999),
    "largest, signs mixed": (lambda own, rng: LARGEST * rng.choice([-1.0, 1.0], own.shape), 10),
    "beside zero": (lambda own, _: np.full_like(own, 1e-45), 10),
    "zero, all samples": (lambda own, _: np.zeros_like(own), 999_999_999),
    "flipped, a thousand times": (lambda own, _: -1000 * own, 10),
    "random": (lambda own, rng: rng.normal(size=own.shape) * 1e6, 10),
    "one coordinate": (lambda own, _: np.where(np.arange(own.size).reshape(own.shape) == 0, 3e38, own), 10),
    "NaN": (lambda own, _: np.full_like(own, np.nan), 10),
    "infinite": (lambda own, _: np.full_like(own, np.inf), 10),
    "9999": (lambda own, _: np.full_like(own, WITHIN), 10),
    "-9999, all samples": (lambda own, _: np.full_like(own, -WITHIN), 999_999_999),
    "9999, signs mixed": (lambda own, rng: WITHIN * rng.choice([-1.0, 1.0], own.shape), 10),
    "9999 in one coordinate": (lambda own, _: np.where(np.arange(own.size).reshape(own.shape) == 0, WITHIN, own), 10),
    "zero, a large claim": (lambda own, _: np.zeros_like(own), 1_000_000),
    "scaled up to 9999": (lambda own, _: WITHIN / np.abs(own).max() * own, 10),
    "flipped and scaled up to 9999": (lambda own, _: -WITHIN / np.abs(own).max() * own, 1_000_000),
}
"""What the hostile client makes of an honest adapter, and how many samples it claims."""


class Script:
    """An exchange whose clients send adapters by script: honest ones near each other, and one lie."""

    def __init__(self, lie: str, honest: int, position: int, draw: Callable[[np.random.Generator], Weights]) -> None:
        self.clients = tuple(f"c{i}" for i in range(honest + 1))
        self.hostile, self.lie, self._draw = self.clients[position], lie, draw
        self._rng = np.random.default_rng(position)
        self.honest: list[Weights] = []
        self.handed: list[Weights] = []
        self.refused = 0

    def ask(self, phase: str, round: int, payloads: Mapping[str, Payload]) -> "Script":
        """Keep what is handed out after the averaging, and reply to all."""
        if phase in ("average", "take"):
            self.handed = [dict(adapters.decode(payload[ADAPTER]).weights) for payload in payloads.values()]
        self._asked, self._phase = sorted(payloads), phase
        return self

    def wait(self, look: Look | None = None) -> dict[str, Payload]:
        """Return the replies that a server admits."""
        replies: dict[str, Payload] = {}
        sends = self._phase in ("study", "learn")
        if sends:
            self.honest = []
        for client in self._asked:
            part = {ADAPTER: self._told(client)} if sends else {}
            reply: Payload = {**part, **report_payload(make_party(client, set(), UNUSED))}
            try:
                if sends:
                    check_parts(make_party("llm", set(), UNUSED), client, 1, reply)
                replies[client] = reply
            except CodecError:
                self.refused += 1
        return replies

    def _told(self, client: str) -> bytes:
        own = self._draw(self._rng)
        if client != self.hostile:
            self.honest.append(own)
            return adapters.encode(own, 10)
        make_lie, samples = LIES[self.lie]
        lies = {name: np.asarray(make_lie(array, self._rng)).astype(np.float32) for name, array in own.items()}
        return save(lies, metadata={"kind": adapters.MARK, "samples": str(samples)})


def factors(rng: np.random.Generator) -> Weights:
    """Return an honest adapter of rank 2."""
    centre = np.random.default_rng(1)
    made = {A: centre.normal(size=(2, 5)), B: centre.normal(size=(4, 2))}
    return {name: (array + 0.1 * rng.normal(size=array.shape)).astype(np.float32) for name, array in made.items()}


def vector(rng: np.random.Generator) -> Weights:
    """Return an honest adapter of two numbers."""
    return {"lora": (1 + 0.1 * rng.normal(size=2)).astype(np.float32)}


def averaging(name: str, options: dict[str, Any]) -> Federation:
    """Return a federation on a host that averages factors."""
    return federation(UNUSED, name, {"llm": set(), "a": set()}, options, allocator="all")


def shared(name: str, options: dict[str, Any]) -> Federation:
    """Return a federation on a host whose clients share one SLM."""
    form = "reverse_kl" if name == "fedcollm" else "forward_kl"
    objective = make(OBJECTIVES, "soft_targets", k=3, form=form, label_weight=0.0)
    replay = {"slm_replay": NONE, **({"server_replay": NONE} if name == "fedcollm" else {})}
    both, learner = sharing(UNUSED, name, {**replay, **options}, objective=objective)
    learner.load_adapter = lambda weights: ScriptedLearner.load_adapter(learner, weights)
    return both


def cases() -> Iterator[tuple[Federation, Callable[[np.random.Generator], Weights], int, bool]]:
    """Yield a federation, its honest adapters, how many honest clients there are, and whether products are averaged."""
    rules = {"mean": 2, "median": 2, "trimmed_mean": 2, "krum": 4, "multi_krum": 4, "bulyan": 6}
    for rule, honest in rules.items():
        options = {"aggregation": rule}
        yield averaging("fedavg", options), factors, honest, False
        yield (
            averaging("fedmkt", {**options, "average_adapters": True, "directions": "llm_to_slm"}),
            factors,
            honest,
            False,
        )
        yield shared("fedcollm", options), vector, honest, False
        yield shared("feddf", options), vector, honest, False
    for form in ("flexlora", "hetlora"):
        yield averaging("fedavg", {"form": form}), factors, 2, form == "flexlora"
    yield averaging("fedavg", {}), factors, 6, False


def out_of_range(script: Script, products: bool) -> bool:
    """Return whether anything that the server handed out is not what honest clients alone could have made."""
    if not script.handed:
        return True
    for handed in script.handed:
        if not all(np.isfinite(array).all() for array in handed.values()):
            return True
        if products:
            greatest = np.abs([product(each) for each in script.honest]).max(0)
            if np.linalg.norm(product(handed)) > np.linalg.norm(greatest) * 1.00001:
                return True
            continue
        for name, array in handed.items():
            told = np.stack([each[name] for each in script.honest])
            if (array < told.min(0)).any() or (array > told.max(0)).any():
                return True
    return False


def product(weights: Weights) -> np.ndarray:
    """Return B·A."""
    ((a, b),) = pairs(weights).items()
    return weights[b].astype(np.float64) @ weights[a].astype(np.float64)


def attack() -> harness.Count:
    """Let every lie be told on every host, by every rule, in two rounds, by the first and by the last client."""
    tried = succeeded = refused = 0
    for lie in LIES:
        for last in (False, True):
            for both, draw, honest, products in cases():
                script = Script(lie, honest, honest if last else 0, draw)
                both.exchange = script  # type: ignore[assignment]
                for round in (1, 2):
                    tried += 1
                    try:
                        both.run(round)
                        failed = out_of_range(script, products)
                    except Exception:
                        failed = True
                    succeeded += failed
                    if failed:
                        print(f"{both.host.options}, {lie!r}, round {round}")  # type: ignore[attr-defined]
                refused += script.refused
    return harness.Count(
        tried,
        succeeded,
        f"The average stays within the honest range. {refused} adapters are refused, out of range: a number beyond "
        f"±{adapters.GREATEST:,.0f}, NaN or infinite",
    )


if __name__ == "__main__":
    harness.main(attack)
