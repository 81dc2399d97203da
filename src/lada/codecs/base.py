"""The contract of a codec. Only the codec knows a kind of message part: its bytes, checks and size.

Guard, ledger, planner and audit look up codecs here, and none of them names a kind. The configuration chooses the codec
of a kind; by default it is the one with the kind's name.
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
"""A text's name, the text, and whether a model wrote it. In a model's text, even a single word may reveal something."""
Words = Sequence[bytes] | None
"""The bytes of the sender's tokens, by id; None if it sent no vocabulary."""
Verify = Callable[[Sequence[tuple["Sample", str]], "Counter[str]", float], Sequence[tuple[str | None, bool | None]]]
"""Returns answer and verdict of each text that another party wrote for its sample. It counts the answers that a
verifier fails on, by reason, and raises FederationError if it takes longer than the given number of seconds."""


class Size(NamedTuple):
    """Bytes of a part's table before compression, and bytes that the part adds to a message."""

    table: int = 0
    message: int = 0


@dataclass(frozen=True, slots=True)
class Outlook:
    """The content of a part, as far as it is known before the run."""

    sender: str = ""
    receiver: str = ""
    samples: int = 0
    """Public samples."""
    mean: float = 0.0
    """The average length of a path, in the sender's tokens."""
    k: int = 0
    """Tokens per position that the receiver's objective asks for."""
    vocabulary: int = 0
    """Tokens of the sender's vocabulary; 0: unknown."""
    numbers: int = 0
    """Trainable numbers of a client's adapter; 0: unknown."""
    private: tuple[Sample, ...] = ()
    """The private samples that the sender sends, if the host requires that."""
    client: bool = False
    """Whether the sender is a client."""
    round: int = 0
    """The number of the round."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """What a codec may know about, and ask of, the party that reads a message."""

    name: str
    role: str
    """`server` or `client`."""
    limits: Limits
    task: TaskData
    signal: SignalSpec | None
    """The signals that it asks others for, in addition to their texts."""
    memory: Mapping[str, bytes]
    """Data that it keeps between phases, such as a vocabulary that was sent once."""
    verify: Verify
    gold: Callable[[], Mapping[str, tuple[str, str]]]
    """Returns question and gold text of each public sample that has one."""
    clock: Callable[[], float]
    """Seconds since the run began."""
    takes_others_work: bool = False
    """Whether received results may come from another run, before this one began."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One message as a party reads it. Each part is decoded only once."""

    payload: Known
    receiver: Receiver
    codecs: Codecs
    sender: str = ""
    """The sender, as the envelope names it; empty if only the parts name it."""
    round: int = 0
    seconds: float = inf
    """The longest time that verification may take, seconds."""
    _parts: dict[str, Any] = field(default_factory=dict)

    def part(self, kind: str) -> Any:
        """Return the content of a part of the message. Raises CodecError or FederationError for content that no honest
        party sends."""
        if kind not in self._parts:  # a settled payload keeps nothing
            self._parts[kind] = read(self.payload, kind, lambda: self.codecs[kind].decode(self.payload[kind], self))
        return self._parts[kind]


class Codec(Generic[Sent, Received]):
    """One kind of message part. Most kinds need only `encode` and `decode`; the other methods have suitable
    defaults."""

    kind: ClassVar[str]
    """The part's name in messages and in the ledger."""
    private: ClassVar[bool] = False
    """Whether it holds private samples."""
    about_the_run: ClassVar[bool] = False
    """Whether it is a report for users, without data on samples or weights; it is checked last."""
    shapeless: ClassVar[bool] = False
    """Whether bytes of any other kind could be mistaken for it."""
    lossy: ClassVar[bool] = False
    """Whether it rounds values; rounded values pass through unchanged."""
    changes: ClassVar[bool] = False
    """Whether a client may send its adapter as changes to the weights it started from. It then remembers those."""
    sparse: bool = False
    """Whether it leaves out coordinates of what clients send. An aggregator sees these as unchanged."""

    def __init__(self, options: Options) -> None:
        """Most kinds have no options."""

    def init(self, seed: int) -> State:
        """Return a sender's initial state; empty for a codec without state."""
        return {}

    def encode(self, state: State, value: Sent) -> tuple[State, bytes]:
        """Return the sender's next state, such as the residual of rounding, and a part.

        Raises CodecError for a value that `decode` would refuse.
        """
        raise NotImplementedError

    def for_client(self, state: State, data: bytes, client: str) -> bytes:
        """Return what one client gets of a part that is for all; by default the part itself.

        `state` is the one that `encode` returned with the part. Equal arguments give equal bytes.
        """
        return data

    def decode(self, data: bytes, reading: Reading) -> Received:
        """Return the content of a part.

        Raises CodecError for anything that `encode` would not write or that exceeds the receiver's limits, or
        FederationError for content that contradicts the run. It raises nothing else, and no error repeats what was
        sent.
        """
        raise NotImplementedError

    def check(self, received: Received, reading: Reading) -> None:
        """Raise CodecError or FederationError unless this is what `reading.sender` may say in `reading.round`."""

    def describe(self, data: bytes) -> int | None:
        """Return the number of samples that a part covers, for the ledger; None if it has none.

        This reads only a header. Raises CodecError for other bytes.
        """
        return None

    def check_clients(self, clients: Sequence[str]) -> None:
        """Raise InputError for options that do not fit a run with these clients."""

    def claims(self, received: Received) -> Iterable[int]:
        """Yield the claims of a part about how many private samples its sender has."""
        return ()

    def expected_bytes(self, outlook: Outlook) -> int:
        """Return the approximate number of bytes of a part; 0 for a few kilobytes."""
        return 0

    def size(self, public: Sequence[Sample], k: int) -> Size:
        """Return the rough size of a part on `public` samples: texts like the gold ones, `k` tokens per position."""
        return Size()

    def texts(self, data: bytes, words: Words) -> Iterator[Text]:
        """Yield the texts in a part, which an audit searches. Raises CodecError for a part that cannot be read."""
        raise CodecError(f"{self.kind}: nothing is known of the texts in it")


class Codecs:
    """The codec of each kind in a run."""

    def __init__(self, chosen: Mapping[str, Codec[Any, Any]] | None = None) -> None:
        """`chosen` are those that the configuration names. Raises InputError if two of them encode the same kind."""
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
        """Return the codec of a kind. Raises KeyError for a kind without a codec."""
        if kind not in self:
            raise KeyError(kind)
        return self._named[kind][1]

    def address(self, kind: str, scope: str) -> str:
        """Return the key of a codec's state among a party's states, for one receiver or for all."""
        return f"codec/{self.name(kind)}/{scope}"

    def name(self, kind: str) -> str:
        """Return the registered name of the codec of a kind."""
        return self._named[kind][0]


CODECS: Registry[Codec[Any, Any]] = Registry("codec", "lada.codecs")
