"""The contract of a codec, which alone knows a kind of message part: its bytes, what is checked of it, what it takes.

Guard, ledger, planner and audit find the codecs here, and none of them names a kind. The codec of a kind is the one
that the configuration chooses for it and, where it chooses none, the one that is called like the kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

from lada.core.errors import CodecError, InputError
from lada.core.known import Known, read
from lada.core.needs import State
from lada.core.registry import Options, Registry

if TYPE_CHECKING:
    from collections import Counter

    from lada.core.limits import Limits
    from lada.core.needs import SignalSpec
    from lada.core.terms import Sample
    from lada.tasks.data import TaskData

Sent = TypeVar("Sent")
Received = TypeVar("Received")
Text = tuple[str, str, bool]
"""What a text is called, the text, and whether a model wrote it, so that a single word of it may reveal something."""
Words = Sequence[bytes] | None
"""The bytes of the sender's tokens, by id; None where it sent no vocabulary."""
Verify = Callable[[Sequence[tuple["Sample", str]], "Counter[str]", float], Sequence[tuple[str | None, bool | None]]]
"""Returns answer and verdict of each text that another party wrote for its sample. It counts those that a verifier
fails on, by reason, and raises FederationError where that takes more than so many seconds."""


class Size(NamedTuple):
    """Bytes: of a part's table before compression, and of all that it adds to a message."""

    table: int = 0
    message: int = 0


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a part will say, as far as that is known before the run."""

    sender: str = ""
    samples: int = 0
    """Public samples."""
    mean: float = 0.0
    """Tokens of a path on average, of the sender's."""
    k: int = 0
    """Tokens per position that the receiver's objective asks for."""
    vocabulary: int = 0
    """Tokens of the sender's vocabulary; 0: unknown."""
    numbers: int = 0
    """Trainable numbers of a client's adapter; 0: unknown."""
    private: tuple[Sample, ...] = ()
    """The private samples that the sender sends, where the host has it send them."""
    client: bool = False
    """Whether the sender is a client."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """What a codec may know of the party that reads a message, and ask of it."""

    name: str
    role: str
    """`server` or `client`."""
    limits: Limits
    task: TaskData
    signal: SignalSpec | None
    """What it asks of others beside their texts."""
    memory: Mapping[str, bytes]
    """What it keeps between phases, such as a vocabulary that was sent once."""
    verify: Verify
    gold: Callable[[], Mapping[str, tuple[str, str]]]
    """Returns question and gold text of each public sample that has one."""
    clock: Callable[[], float]
    """Seconds since the run began."""
    takes_others_work: bool = False
    """Whether what it receives may have been worked out by another run, before this one began."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One message as a party reads it. Each part is decoded once, whoever asks for it."""

    payload: Known
    receiver: Receiver
    codecs: Codecs
    sender: str = ""
    """Whose message it is, as far as the envelope says; empty where its parts alone say so."""
    round: int = 0
    seconds: float = inf
    """How long verifying may take."""
    _parts: dict[str, Any] = field(default_factory=dict)

    def part(self, kind: str) -> Any:
        """Return what a part of the message says. Raises CodecError or FederationError for what nobody honest sends."""
        if kind not in self._parts:  # a payload that is settled keeps nothing
            self._parts[kind] = read(self.payload, kind, lambda: self.codecs[kind].decode(self.payload[kind], self))
        return self._parts[kind]


class Codec(Generic[Sent, Received]):
    """One kind of message part. Most kinds need `encode` and `decode` alone; the rest has an answer that suits them."""

    kind: ClassVar[str]
    """What the part is called in messages and in the ledger."""
    private: ClassVar[bool] = False
    """Whether its samples are private ones."""
    about_the_run: ClassVar[bool] = False
    """Whether it is a report for people, with nothing on samples or weights; it is checked after all else."""
    shapeless: ClassVar[bool] = False
    """Whether bytes of any other kind may pass for it."""
    lossy: ClassVar[bool] = False
    """Whether it rounds what is said; what was rounded once goes through unchanged."""
    changes: ClassVar[bool] = False
    """Whether a client's adapter may cross as changes to the weights that it started from, which it then remembers."""
    sparse: bool = False
    """Whether it leaves out coordinates of what clients send, which then look unchanged to an aggregator."""

    def __init__(self, options: Options) -> None:
        """Most kinds have nothing to choose."""

    def init(self, seed: int) -> State:
        """Return what a sender begins with; empty for a codec that remembers nothing."""
        return {}

    def encode(self, state: State, value: Sent) -> tuple[State, bytes]:
        """Return the sender's next state, such as what rounding has left over so far, and a part.

        Raises CodecError for a value that `decode` would refuse.
        """
        raise NotImplementedError

    def decode(self, data: bytes, reading: Reading) -> Received:
        """Return what a part says.

        Raises CodecError for anything that `encode` would not write and for more than the receiver's limits, or
        FederationError for what contradicts the run; nothing else, and no error repeats what was sent.
        """
        raise NotImplementedError

    def check(self, received: Received, reading: Reading) -> None:
        """Raise CodecError or FederationError unless this is what `reading.sender` may say in `reading.round`."""

    def describe(self, data: bytes) -> int | None:
        """Return of how many samples a part speaks, for the ledger; None where it speaks of none.

        Only a header is read. Raises CodecError for other bytes.
        """
        return None

    def claims(self, received: Received) -> Iterable[int]:
        """Yield what a part says of how many private samples its sender has."""
        return ()

    def expected_bytes(self, outlook: Outlook) -> int:
        """Return about how many bytes a part will have; 0 for a few kilobytes."""
        return 0

    def size(self, public: Sequence[Sample], k: int) -> Size:
        """Return roughly how large a part on `public` samples is: texts like the gold ones, `k` tokens a position."""
        return Size()

    def texts(self, data: bytes, words: Words) -> Iterator[Text]:
        """Yield the texts in a part, which an audit searches. Raises CodecError for a part that cannot be read."""
        raise CodecError(f"{self.kind}: nothing is known of the texts in it")


class Codecs:
    """The codec of each kind in a run."""

    def __init__(self, chosen: Mapping[str, Codec[Any, Any]] | None = None) -> None:
        """`chosen` are those that the configuration names. Raises InputError where two of them carry one kind."""
        self._named: dict[str, tuple[str, Codec[Any, Any]]] = {}
        for name, codec in (chosen or {}).items():
            other, _ = self._named.setdefault(codec.kind, (name, codec))
            if other != name:
                raise InputError(
                    f"codecs: {other!r} and {name!r} both carry {codec.kind!r}; expected one codec for each kind"
                )

    def __contains__(self, kind: str) -> bool:
        if kind not in self._named and kind in CODECS.names():
            method = CODECS.get(kind)
            codec = method.make(method.options())
            if codec.kind == kind:
                self._named[kind] = kind, codec
        return kind in self._named

    def __getitem__(self, kind: str) -> Codec[Any, Any]:
        """Return the codec of a kind. KeyError for a kind that nobody carries."""
        if kind not in self:
            raise KeyError(kind)
        return self._named[kind][1]

    def address(self, kind: str, scope: str) -> str:
        """Return under which key of a party's states the codec of a kind has its own, for one receiver or all."""
        return f"codec/{self.name(kind)}/{scope}"

    def name(self, kind: str) -> str:
        """Return what the codec of a kind is registered as."""
        return self._named[kind][0]


CODECS: Registry[Codec[Any, Any]] = Registry("codec", "lada.codecs")
