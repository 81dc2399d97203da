"""Sparse LoRA traffic as in FLASC (arXiv 2406.05233, from its code); CELLM (arXiv 2407.20557) claims the same.

All n trainable numbers are one vector: the masks are joint over all weights.

    server   P, with what earlier messages left out;  sends the top ⌊n·down⌋ of |P|, which a client starts from
    client   Δ = W - P⊙m, with its own residual e;    sends the top ⌊n·up⌋ of |Δ + e|

What a sender leaves out stays with it: the codec's state at the server holds the numbers outside the mask, as FLASC's
server keeps them. At a client it holds e ← e + Δ - sent, which is ours (error feedback, arXiv 1809.07599), and which
`error_feedback: false` drops. A client without a start that the server knows sends all of W.
"""

import json
import math
import operator
import re
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from lada.codecs import top_values
from lada.codecs.adapters import KIND, Adapter, Change, Update, digest, fault
from lada.codecs.base import CODECS, Codec, Outlook, Reading, Text, Words
from lada.codecs.table import header_number
from lada.codecs.tensors import read, write
from lada.core.errors import CodecError
from lada.core.needs import State
from lada.core.registry import Options
from lada.core.seeds import next_draw

MARK, PLACES, VALUES, RESIDUAL = "flasc", "places", "values", "residual"
TYPES = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4")}
DENSE = 4
"""Bytes of a number once it is read, float32."""
MOST, MOST_AXES = 2**40, 8
"""Numbers of a weight, and its axes."""
Form = Literal["adapter", "whole", "change"]
"""What is sent: the server's adapter; all of a client's, whose start the server lacks; a client's changes."""
FORMS = {"client": ("adapter",), "server": ("adapter", "whole", "change")}
"""What a party may receive. The server also reads what it sent itself."""
START = re.compile("[0-9a-f]{16}")
Shapes = list[tuple[str, tuple[int, ...]]]


class FlascOptions(Options):
    """Options of the codec. They hold for the run: each side refuses messages of other densities."""

    down: float = Field(default=0.25, gt=0, le=1, allow_inf_nan=False)
    """Share of the adapter's numbers that the server sends; those of the largest magnitude."""
    up: float = Field(default=0.0625, gt=0, le=1, allow_inf_nan=False)
    """Share of an adapter's changes that a client sends; those of the largest magnitude. Below 1, the aggregator must
    not compare clients coordinate by coordinate."""
    values: Literal["float16", "float32"] = "float16"
    """Type of the numbers that are sent."""
    error_feedback: bool = True
    """Whether a client adds what it left out to what it sends next."""
    shuffled: bool = Field(default=False, exclude_if=operator.not_)
    """A control for benchmarks: a message has as many numbers, but their places are drawn at random instead of those of
    the largest magnitude."""


@CODECS.register("flasc", options=FlascOptions, paper="arXiv 2406.05233", status="our reading", tags=("weights",))
class Flasc(Codec[Adapter | Update, Adapter | Change]):
    """The largest numbers of an adapter, and of a client's changes to it, with masks over all weights at once."""

    kind = KIND
    lossy = True
    changes = True

    def __init__(self, options: FlascOptions) -> None:
        self.options = options
        self.sparse = options.up < 1
        self._type = TYPES[options.values]

    def init(self, seed: int) -> State:
        """Return an empty state; with `shuffled`, the seed of the next places."""
        return {"seed": np.array(seed)} if self.options.shuffled else {}

    def encode(self, state: State, value: Adapter | Update) -> tuple[State, bytes]:
        """See Codec.encode.

        The state is a vector of n numbers, float32: what has been left out so far. With `shuffled`, it also has the
        seed of the next places.
        """
        vector, start = _flat(value.weights), value.start if isinstance(value, Update) else None
        form: Form = "adapter" if isinstance(value, Adapter) else "whole" if start is None else "change"
        if start is not None:
            vector = vector - _flat(start)
        residual = state.get(RESIDUAL)
        if residual is not None and residual.shape == vector.shape:
            vector = vector + residual
        if why := fault(vector):
            raise CodecError(f"{MARK}: a weight holds {why}")
        k, following = self._count(len(vector), form), {}
        if self.options.shuffled:
            following, rng = next_draw(state)
            places = np.sort(rng.permutation(len(vector))[:k])
        else:
            places = top_values.top(vector, k)
        values = vector[places].astype(self._type)
        header = {
            "kind": MARK,
            "form": form,
            "samples": str(value.samples),
            "shapes": json.dumps([(name, value.weights[name].shape) for name in sorted(value.weights)]),
            "start": "" if start is None else digest(start),
        }
        header_number(MARK, header, "samples")
        data = write({PLACES: top_values.pack(places, len(vector)), VALUES: values}, header)
        vector[places] -= values
        left = {RESIDUAL: vector} if form == "adapter" or self.options.error_feedback else {}
        return {**left, **following}, data

    def _count(self, size: int, form: str) -> int:
        """Return how many of so many numbers are sent."""
        if form == "whole":
            return size
        return top_values.count(size, self.options.up if form == "change" else self.options.down)

    def decode(self, data: bytes, reading: Reading) -> Adapter | Change:
        """See Codec.decode. Numbers that were left out are 0."""
        limit = reading.receiver.limits.adapter_bytes
        arrays, header, shapes = _open(data, limit)
        if DENSE * (size := sum(math.prod(shape) for _, shape in shapes)) > limit:
            raise CodecError(f"{MARK}: more numbers than {limit} bytes hold")
        form, start, values = header.get("form", ""), header.get("start", ""), arrays[VALUES]
        if form not in FORMS[reading.receiver.role] or bool(START.fullmatch(start)) != (form == "change"):
            raise CodecError(
                f"{MARK}: another form, or a start beside another; expected {FORMS[reading.receiver.role]}"
            )
        k = self._count(size, form)
        if values.dtype != self._type or values.shape != (k,):
            raise CodecError(f"{MARK}: other values than {k} of type {self._type.name}")
        if why := fault(values):
            raise CodecError(f"{MARK}: a weight holds {why}")
        vector = np.zeros(size, np.float32)
        vector[top_values.unpack(arrays[PLACES], size, k)] = values
        weights, samples = _named(vector, shapes), header_number(MARK, header, "samples")
        return Change(weights, samples, start) if form == "change" else Adapter(weights, samples)

    def claims(self, received: Adapter | Change) -> Iterator[int]:
        """See Codec.claims."""
        yield received.samples

    def expected_bytes(self, outlook: Outlook) -> int:
        """See Codec.expected_bytes."""
        k = self._count(outlook.numbers, "change" if outlook.client else "adapter")
        return top_values.packed_bytes(outlook.numbers, k, self._type.itemsize)

    def texts(self, data: bytes, words: Words) -> Iterator[Text]:
        """See Codec.texts."""
        yield from (("a name", name, False) for name, _ in _open(data, len(data))[2])


def _flat(weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return all numbers of an adapter as one vector, float32 [n], by ascending names."""
    return np.concatenate(
        [np.zeros(0, np.float32), *(weights[name].astype(np.float32).ravel() for name in sorted(weights))]
    )


def _named(vector: np.ndarray, shapes: Shapes) -> dict[str, np.ndarray]:
    named, at = {}, 0
    for name, shape in shapes:
        size = math.prod(shape)
        named[name] = vector[at : at + size].reshape(shape)
        at += size
    return named


def _open(data: bytes, limit: int) -> tuple[dict[str, np.ndarray], dict[str, str], Shapes]:
    """Return arrays, header, names and shapes. Raises CodecError for another kind and for what no header says."""
    arrays, header = read(data, MARK, limit)
    if header.get("kind") != MARK or arrays.keys() != {PLACES, VALUES}:
        raise CodecError(f"{MARK}: of another kind; expected {MARK!r} with {PLACES} and {VALUES}")
    try:
        shapes = [(name, tuple(shape)) for name, shape in json.loads(header["shapes"])]
    except Exception as error:  # there is no telling what a reader raises on bytes made to break it
        raise CodecError(f"{MARK}: not readable: {type(error).__name__}") from error
    names = [name for name, _ in shapes]
    if not all(_is_shape(shape) for _, shape in shapes):
        raise CodecError(f"{MARK}: shapes that are none")
    if not all(type(name) is str for name in names) or names != sorted(set(names)):
        raise CodecError(f"{MARK}: a name that is no text, is there twice or is out of order")
    return arrays, header, shapes


def _is_shape(shape: tuple[object, ...]) -> bool:
    sizes = [size for size in shape if type(size) is int and 0 <= size <= MOST]
    return len(sizes) == len(shape) <= MOST_AXES and math.prod(max(size, 1) for size in sizes) <= MOST
