"""The plan of a run as plain data."""

from pydantic import Field

from lada.core.results import Record, Traffic
from lada.models.memory import MemoryEstimate


class StudyPlan(Record):
    """One study of a party in a round. `tokens` counts the paths that it learns from, as far as known.

    For a study with a budget of tokens, `steps` is the expected number.
    """

    phase: str
    steps: int
    batch_size: int
    micro_batch_size: int
    tokens: int


class PartyPlan(Record):
    """One party. A `note` explains why something is unknown, for example for a model behind an API."""

    name: str
    role: str
    model: str
    device: str
    private: int
    """Private samples."""
    studies: tuple[StudyPlan, ...]
    prompt: int
    """Longest prompt, tokens."""
    completion: int
    """Longest path, tokens."""
    mean: float
    """The average length of a path, tokens."""
    lengths: str
    """The source of these three numbers."""
    shape: str
    memory: MemoryEstimate | None
    note: str


class PlannedStep(Record):
    """One thing that a party, or each client, does in a round."""

    side: str
    phase: str
    verb: str | None
    samples: str
    sends: tuple[str, ...]


class RoundPlan(Record):
    """The steps of the rounds `first` to `last`, which are equal."""

    first: int
    last: int
    steps: tuple[PlannedStep, ...]


class DevicePlan(Record):
    """The memory that one device must hold at once, bytes. `missing` are parties of unknown size, which `needed` does
    not include."""

    device: str
    parties: tuple[str, ...]
    missing: tuple[str, ...]
    needed: int
    free: int
    total: int
    at_once: int
    """Clients that work at the same time as the server."""
    remedies: tuple[str, ...] | None
    """Keys that would make it fit; None if it fits, empty if no key is enough."""

    @property
    def fits(self) -> bool:
        """Whether the known part fits into the device's total memory."""
        return self.needed <= self.total


class PartyTime(Record):
    """The approximate time that one party works in all rounds, seconds. It reads when it judges or scores others'
    paths."""

    party: str
    studying: float
    answering: float
    reading: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.studying + self.answering + self.reading


class GenerationPlan(Record):
    """What an augmenter asks of the server's LLM, at most. Tokens follow from the longest prompts and paths."""

    method: str
    round_calls: int
    """Calls in a round, without those that calibrate a critic."""
    calls: int
    """Calls in all rounds, within the budget."""
    read: int
    written: int


def _none(value: object) -> bool:
    return value is None


class Plan(Record):
    """A run before it starts."""

    name: str
    rounds: int
    methods: dict[str, str]
    """The names of the methods, by kind."""
    public: int
    test: int
    data: str
    """The source of the counts of samples."""
    parties: tuple[PartyPlan, ...]
    schedule: tuple[RoundPlan, ...]
    traffic: tuple[Traffic, ...]
    """Expected bytes of knowledge by round, sender, receiver and kind; messages of numbers are not counted."""
    generation: GenerationPlan | None = Field(default=None, exclude_if=_none)
    """Calls of the LLM that an augmenter makes; omitted from JSON without one."""
    devices: tuple[DevicePlan, ...]
    times: tuple[PartyTime, ...]
    """The devices of parties whose model and device are on this machine, as far as the model's memory is known."""
    seconds: float
    """The approximate time of these parties, if the clients take turns on as many processes as there are workers."""
    notices: tuple[str, ...]
    faults: tuple[str, ...]
    """The reasons why a run would be refused on this machine."""
