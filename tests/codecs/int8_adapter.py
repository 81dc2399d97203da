"""Adapters as int8: what rounding leaves over is added to what is sent next (error feedback, arXiv 1809.07599)."""

from collections.abc import Iterator, Mapping

import numpy as np

from lada.codecs.adapters import GREATEST, KIND, Adapter
from lada.codecs.base import CODECS, Codec, Outlook, Reading, Text, Words
from lada.codecs.table import LIMIT, header_number
from lada.codecs.tensors import read, write
from lada.core.errors import CodecError
from lada.core.needs import State

MARK, SCALE = "int8", "scale of "


@CODECS.register("int8_adapter", paper="arXiv 1809.07599", status="our reading")
class Int8Adapters(Codec[Adapter, Adapter]):
    """An adapter's weights in 255 steps each; what that leaves over is sent with the next ones."""

    kind = KIND

    def encode(self, state: State, value: Adapter) -> tuple[State, bytes]:
        """See Codec.encode. The state is what each weight was rounded by, so far."""
        sent: dict[str, np.ndarray] = {}
        left: dict[str, np.ndarray] = {}
        for name, weights in value.weights.items():
            before = state.get(name)
            wanted = weights if before is None or before.shape != weights.shape else weights + before
            scale = np.float32(max(np.abs(wanted).max(initial=0), 1e-30) / 127)
            sent[name] = np.rint(wanted / scale).astype(np.int8)
            sent[SCALE + name] = np.array(scale)
            left[name] = wanted - sent[name] * scale
        return left, write(sent, {"kind": MARK, "samples": str(value.samples)})

    def decode(self, data: bytes, reading: Reading) -> Adapter:
        """See Codec.decode."""
        return _decode(data, reading.receiver.limits.adapter_bytes)

    def claims(self, heard: Adapter) -> Iterator[int]:
        """See Codec.claims."""
        yield heard.samples

    def expected_bytes(self, outlook: Outlook) -> int:
        """See Codec.expected_bytes."""
        return outlook.numbers

    def texts(self, data: bytes, words: Words) -> Iterator[Text]:
        """See Codec.texts."""
        yield from (("a name", name, False) for name in _decode(data, LIMIT).weights)


def _decode(data: bytes, limit: int) -> Adapter:
    sent, header = read(data, MARK, limit)
    weights: Mapping[str, np.ndarray] = {name: each for name, each in sent.items() if not name.startswith(SCALE)}
    if header.get("kind") != MARK or sent.keys() - weights.keys() != {SCALE + name for name in weights}:
        raise CodecError(f"{MARK}: of another kind, or not one scale for each weight")
    scales = {name: sent[SCALE + name] for name in weights}
    if any(each.dtype != np.int8 for each in weights.values()):
        raise CodecError(f"{MARK}: a weight of another type than int8")
    if any(each.dtype != np.float32 or each.shape or not 0 <= each * 128 <= GREATEST for each in scales.values()):
        raise CodecError(f"{MARK}: a scale that is none")
    whole = {name: weights[name] * scales[name] for name in sorted(weights)}
    return Adapter(whole, header_number(MARK, header, "samples"))
