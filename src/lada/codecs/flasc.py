"""Sparse LoRA traffic as in FLASC (arXiv 2406.05233, from its code); CELLM (arXiv 2407.20557) claims the same.

All n trainable numbers are one vector: the masks are joint over all weights.

    server   P, with what earlier messages left out;  sends the top ⌊n·down⌋ of |P|, which a client starts from
    client   Δ = W - P⊙m, with its own residual e;    sends the top ⌊n·up⌋ of |Δ + e|

A sender keeps what it leaves out. At the server, the codec's state holds the numbers outside the mask, as FLASC's
server does. At a client it holds e ← e + Δ - sent, which is ours (error feedback, arXiv 1809.07599), and which
`error_feedback: false` drops. A client without a start that the server knows sends all of W.

With `tiers_down`, a client k gets P⊙m_k at its own density, and its Δ is relative to that. The server adds Δ to P⊙m.
"""

import math
import operator
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lada.codecs import top_values
from lada.codecs.adapters import KIND, Adapter, Change, Update, digest, fault
from lada.codecs.base import CODECS, Codec, Outlook, Reading, Text, Words
from lada.codecs.table import header_number
from lada.codecs.tensors import read, write
from lada.codecs.vectors import Shapes, flat, named, read_outline, write_outline
from lada.core.errors import CodecError, InputError, nearest
from lada.core.names import Name
from lada.core.needs import State
from lada.core.registry import Options
from lada.core.seeds import generator, next_draw

MARK, PLACES, VALUES, RESIDUAL, SENT = "flasc", "places", "values", "residual", "sent"
TYPES = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4")}
DENSE = 4
"""Bytes of a number once it is read, float32."""
Form = Literal["adapter", "whole", "change"]
"""What is sent: the server's adapter; all of a client's, whose start the server lacks; a client's changes."""
FORMS = {"client": ("adapter",), "server": ("adapter", "whole", "change")}
"""What a party may receive. The server also reads what it sent itself."""
START = re.compile("[0-9a-f]{16}")
Density = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


class FlascOptions(Options):
    """Options of the codec. They hold for the run: each side refuses messages of higher densities."""

    down: Density = 0.25
    """Share of the adapter's numbers that the server sends; those of the largest magnitude."""
    up: Density = 0.0625
    """Share of an adapter's changes that a client sends; those of the largest magnitude. Below 1, the aggregator must
    not compare clients coordinate by coordinate."""
    tiers: dict[Name, Density] = Field(default={}, exclude_if=operator.not_)
    """Density instead of `up` for some clients, by name. Clients that it does not name keep `up`."""
    tiers_down: dict[Name, Density] = Field(default={}, exclude_if=operator.not_)
    """Density instead of `down` for what some clients receive, by name. The others receive numbers at `down`."""
    decay: Density = Field(default=1.0, exclude_if=lambda factor: factor == 1)
    """Factor by which the densities of a sender fall with each masked message that it sends."""
    values: Literal["float16", "float32"] = "float16"
    """Type of the numbers that are sent."""
    error_feedback: bool = True
    """Whether a client adds what it left out to what it sends next."""
    shuffled: bool = Field(default=False, exclude_if=operator.not_)
    """A control for benchmarks: a message has as many numbers, but their places are drawn at random instead of those of
    the largest magnitude."""


@CODECS.register(
    "flasc", options=FlascOptions, paper="arXiv 2406.05233", status="our reading", level="code read", tags=("weights",)
)
class Flasc(Codec[Adapter | Update, Adapter | Change]):
    """The largest numbers of an adapter, and of a client's changes to it, with masks over all weights at once."""

    kind = KIND
    lossy = True
    changes = True

    def __init__(self, options: FlascOptions) -> None:
        self.options = options
        self._tiers = {"adapter": (options.down, options.tiers_down), "change": (options.up, options.tiers)}
        self._highest = {form: max(usual, *tiers.values(), 0) for form, (usual, tiers) in self._tiers.items()}
        self.sparse = min(options.up, *options.tiers.values(), options.decay) < 1
        self._type = TYPES[options.values]

    def init(self, seed: int) -> State:
        """See Codec.init."""
        return {"seed": np.array(seed)} if self.options.shuffled else {}

    def encode(self, state: State, value: Adapter | Update) -> tuple[State, bytes]:
        """See Codec.encode.

        The state is a vector of n numbers, float32: what has been left out so far. With `shuffled`, it also has the
        seed of the next places; with `decay`, the number of masked messages.
        """
        vector, start = flat(value.weights), value.start if isinstance(value, Update) else None
        form: Form = "adapter" if isinstance(value, Adapter) else "whole" if start is None else "change"
        client, sent = value.client if isinstance(value, Update) else "", int(state.get(SENT, 0))
        if start is not None:
            vector = vector - flat(start)
        residual = state.get(RESIDUAL)
        if residual is not None and residual.shape == vector.shape:
            vector = vector + residual
        if why := fault(vector):
            raise CodecError(f"{MARK}: a weight holds {why}")
        following, rng = next_draw(state) if self.options.shuffled else ({}, None)
        header = {
            "kind": MARK,
            "form": form,
            "samples": str(value.samples),
            "shapes": write_outline(value.weights),
            "start": "" if start is None else digest(start),
        }
        header_number(MARK, header, "samples")
        places, values, data = self._masked(vector, self._density(form, client, sent), header, rng)
        vector[places] -= values
        left = {RESIDUAL: vector} if form == "adapter" or self.options.error_feedback else {}
        counted = {SENT: np.array(sent + (form != "whole"))} if self.options.decay < 1 else {}
        return {**left, **following, **counted}, data

    def for_client(self, state: State, data: bytes, client: str) -> bytes:
        """See Codec.for_client: the numbers of the same P at the client's own density."""
        if client not in self.options.tiers_down:
            return data
        vector, (arrays, header, _) = state[RESIDUAL].copy(), _open(data, len(data))
        vector[top_values.unpack(arrays[PLACES], len(vector), len(arrays[VALUES]))] += arrays[VALUES]
        rng = generator(int(state["seed"]), "places", client) if self.options.shuffled else None
        return self._masked(vector, self._density("adapter", client, int(state.get(SENT, 1)) - 1), header, rng)[2]

    def _masked(
        self, vector: np.ndarray, density: float, header: dict[str, str], rng: np.random.Generator | None
    ) -> tuple[np.ndarray, np.ndarray, bytes]:
        """Return places and values of the largest of n numbers, or of random ones with `rng`, and the message.

        Raises InputError if there are none, unless changes have decayed."""
        k, n = top_values.count(len(vector), density), len(vector)
        if n and not k and (header["form"] == "adapter" or self.options.decay == 1):
            raise top_values.none_of(n, density)
        places = top_values.top(vector, k) if rng is None else np.sort(rng.permutation(n)[:k])
        values = vector[places].astype(self._type)
        return places, values, write({PLACES: top_values.pack(places, n), VALUES: values}, header)

    def _density(self, form: str, client: str, sent: int) -> float:
        """Return the share of numbers that go to or from a client after `sent` masked messages."""
        usual, tiers = self._tiers.get(form, (1.0, {}))
        return tiers.get(client, usual) * (self.options.decay**sent if form in self._tiers else 1.0)

    def decode(self, data: bytes, reading: Reading) -> Adapter | Change:
        """See Codec.decode. Numbers that were left out are 0."""
        receiver, limit = reading.receiver, reading.receiver.limits.adapter_bytes
        arrays, header, shapes = _open(data, limit)
        if DENSE * (size := sum(math.prod(shape) for _, shape in shapes)) > limit:
            raise CodecError(f"{MARK}: more numbers than {limit} bytes hold")
        form, start, values = header.get("form", ""), header.get("start", ""), arrays[VALUES]
        if form not in FORMS[receiver.role] or bool(START.fullmatch(start)) != (form == "change"):
            raise CodecError(f"{MARK}: a wrong form, or a start that does not suit it; expected {FORMS[receiver.role]}")
        highest = self._density(form, receiver.name, 0) if receiver.role == "client" else self._highest.get(form, 1.0)
        most = top_values.count(size, highest)
        least = most if form == "whole" else 0
        if values.dtype != self._type or values.ndim != 1 or not least <= len(values) <= most:
            raise CodecError(f"{MARK}: other values than {least} to {most} of type {self._type.name}")
        if why := fault(values):
            raise CodecError(f"{MARK}: a weight holds {why}")
        vector = np.zeros(size, np.float32)
        vector[top_values.unpack(arrays[PLACES], size, len(values))] = values
        weights, samples = named(vector, shapes), header_number(MARK, header, "samples")
        return Change(weights, samples, start) if form == "change" else Adapter(weights, samples)

    def claims(self, received: Adapter | Change) -> Iterator[int]:
        """See Codec.claims."""
        yield received.samples

    def expected_bytes(self, outlook: Outlook) -> int:
        """See Codec.expected_bytes."""
        form, client = ("change", outlook.sender) if outlook.client else ("adapter", outlook.receiver)
        k = top_values.count(outlook.numbers, self._density(form, client, max(outlook.round - 1, 0)))
        return top_values.packed_bytes(outlook.numbers, k, self._type.itemsize)

    def check_clients(self, clients: Sequence[str]) -> None:
        """See Codec.check_clients."""
        for key in ("tiers", "tiers_down"):
            if unknown := sorted(getattr(self.options, key).keys() - set(clients)):
                raise InputError(
                    f"codecs.{MARK}.options.{key}: there is no client {unknown[0]!r}; expected some of "
                    f"{', '.join(sorted(clients))}{nearest(unknown[0], clients)}"
                )

    def texts(self, data: bytes, words: Words) -> Iterator[Text]:
        """See Codec.texts."""
        yield from (("a name", name, False) for name, _ in _open(data, len(data))[2])


def _open(data: bytes, limit: int) -> tuple[dict[str, np.ndarray], dict[str, str], Shapes]:
    """Return arrays, header, names and shapes. Raises CodecError for another kind and for what no header says."""
    arrays, header = read(data, MARK, limit)
    if header.get("kind") != MARK or arrays.keys() != {PLACES, VALUES}:
        raise CodecError(f"{MARK}: of another kind; expected {MARK!r} with {PLACES} and {VALUES}")
    return arrays, header, read_outline(header.get("shapes", ""), MARK)
