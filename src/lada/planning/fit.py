"""Checks whether the parties of a run fit into this machine's memory, and finds changes that make them fit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lada.core.errors import InputError
from lada.models.base import Study
from lada.models.memory import MemoryEstimate, Trace, estimate_of
from lada.models.options import ModelOptions
from lada.models.placement import dtype_name
from lada.planning.lengths import Lengths
from lada.planning.machine import Device
from lada.planning.plan import DevicePlan

RESIDENT = 700 * 2**20
"""Bytes of a process besides its model, for Python and its libraries: our assumption."""
CONTEXT = 512 * 2**20
"""Bytes that a process takes of a GPU for its context: our assumption."""


@dataclass(frozen=True, slots=True)
class Demand:
    """A party with a model on this machine. Each study has the number of further paths that a lesson may have.

    `trace` is called with options, dtype and lengths. With a device map, `device` is the first of all CUDA devices that
    share the model; with `parallel`, it is the first of those with a copy each.
    """

    name: str
    client: bool
    trace: Callable[[ModelOptions, str, Lengths], Trace]
    options: ModelOptions
    device: str
    studies: tuple[tuple[Study, int], ...]
    lengths: Lengths
    timed: bool = True
    """Whether its time follows from its size. That of a small network is mostly overhead."""

    def memory(self) -> MemoryEstimate:
        """Return its memory. Raises InputError if it cannot be estimated."""
        ranks = self.options.parallel.processes if self.options.parallel else 1
        shares = [(-(-study.batch_size // ranks), study.micro_batch_size, further) for study, further in self.studies]
        rows = [min(share, most or share) * (1 + further) for share, most, further in shares]
        trace = self.trace(self.options, dtype_name(self.options.dtype, self.device), self.lengths)
        return estimate_of(trace, self.options, max(rows, default=0))


Change = Callable[[Demand], Demand]


def _model(**values: Any) -> Change:
    return lambda demand: replace(demand, options=demand.options.model_copy(update=values))


def _one_at_a_time(demand: Demand) -> Demand:
    studies = tuple((study.model_copy(update={"micro_batch_size": 1}), further) for study, further in demand.studies)
    return replace(demand, studies=studies)


def _smaller_batch(demand: Demand) -> Demand:
    return _model(batch_size=min(8, demand.options.batch_size))(demand)


WORKERS, LORA, QUANTISE = "workers: 1", "tune: lora", "quantise: 4bit"
REMEDIES: dict[str, Change] = {
    WORKERS: lambda demand: demand,
    "micro_batch_size: 1": _one_at_a_time,
    "gradient_checkpointing: true": _model(gradient_checkpointing=True),
    "batch_size: 8": _smaller_batch,
    LORA: _model(tune="lora"),
    QUANTISE: _model(quantise="4bit"),
}
"""The changes that may be made for all parties of a device, the cheapest first."""


def device_plans(
    demands: Sequence[Demand], unknown: Sequence[tuple[str, str]], workers: int, devices: Sequence[Device]
) -> tuple[DevicePlan, ...]:
    """Return for each device with parties how much it must hold at once; `unknown` are parties of unknown size.

    The server works at the same time as `workers` clients, in the worst case the largest. With 0 workers, clients take
    turns in the server's process. A model with a device map is assumed to be spread evenly. Raises InputError if a
    demand's memory cannot be estimated.
    """
    plans = []
    for device in devices:
        missing = tuple(name for name, where in unknown if where == device.name)
        crowd = _Crowd(device, tuple(d for d in demands if _is_on(d, device)), workers, len(_cuda(devices)))
        if not crowd.demands and not missing:
            continue
        needed = crowd.needed()
        plans.append(
            DevicePlan(
                device=device.name,
                parties=tuple(demand.name for demand in crowd.demands),
                missing=missing,
                needed=needed,
                free=device.free,
                total=device.total,
                at_once=crowd.at_once,
                remedies=None if needed <= device.total else _remedies(crowd),
            )
        )
    return tuple(plans)


def _cuda(devices: Sequence[Device]) -> list[Device]:
    return [device for device in devices if device.name.startswith("cuda")]


def _is_on(demand: Demand, device: Device) -> bool:
    if demand.options.parallel is not None and demand.device.startswith("cuda"):
        return device.name in [f"cuda:{rank}" for rank in range(demand.options.parallel.processes)]
    return demand.device == device.name or (demand.options.device_map is not None and bool(_cuda([device])))


@dataclass(frozen=True, slots=True)
class _Crowd:
    """The parties that share a device; `spread` is how many devices share a model with a device map."""

    device: Device
    demands: tuple[Demand, ...]
    workers: int
    spread: int

    @property
    def at_once(self) -> int:
        return min(max(self.workers, 1), sum(demand.client for demand in self.demands))

    def needed(self) -> int:
        """Return the bytes of the server, the largest clients at once, and their processes."""
        clients = sorted((self._peak(demand) for demand in self.demands if demand.client), reverse=True)
        servers = [self._peak(demand) for demand in self.demands if not demand.client]
        processes = len(servers) + self.at_once if self.workers else min(1, len(self.demands))
        own = RESIDENT if self.device.name == "cpu" else CONTEXT
        return sum(servers) + sum(clients[: self.at_once]) + processes * own

    def _peak(self, demand: Demand) -> int:
        peak = demand.memory().peak // (self.spread if demand.options.device_map and self.spread else 1)
        if demand.options.parallel is not None and self.device.name == "cpu":  # each CUDA device has one copy
            return peak + (demand.options.parallel.processes - 1) * (peak + RESIDENT)
        return peak

    def after(self, names: Sequence[str]) -> "_Crowd":
        """Return the crowd with some of REMEDIES applied."""
        demands = self.demands
        for name in names:
            demands = tuple(REMEDIES[name](demand) for demand in demands)
        return replace(self, demands=demands, workers=1 if WORKERS in names else self.workers)


def _remedies(crowd: _Crowd) -> tuple[str, ...]:
    """Return a few of REMEDIES that make it fit: the first ones that do, without those that are then unnecessary."""

    def fits(names: Sequence[str]) -> bool:
        try:
            return crowd.after(names).needed() <= crowd.device.total
        except InputError:  # such as LoRA on an unknown architecture
            return False

    possible = [name for name in REMEDIES if crowd.device.name.startswith("cuda") or name != QUANTISE]
    if crowd.at_once < 2:
        possible.remove(WORKERS)
    count = next((count for count in range(1, len(possible) + 1) if fits(possible[:count])), None)
    if count is None:
        return ()
    chosen = possible[:count]
    for name in possible[: count - 1]:
        rest = [other for other in chosen if other != name]
        if not (name == LORA and QUANTISE in chosen) and fits(rest):
            chosen = rest
    return tuple(chosen)
