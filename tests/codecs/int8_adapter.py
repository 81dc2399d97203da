"""Adapters as int8: what rounding leaves over is added to what is sent next (error feedback, arXiv 1809.07599)."""

from collections.abc import Iterator

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
    lossy = True

    def encode(self, state: State, value: Adapter) -> tuple[State, bytes]:
        """See Codec.encode. The state is what each weight was rounded by, so far."""
        left = {
            name: state[name] for name, w in value.weights.items() if name in state and state[name].shape == w.shape
        }
        wanted = {name: w + left[name] if name in left else w for name, w in value.weights.items()}
        scales = {name: np.float32(max(np.abs(w).max(initial=0), 1e-30) / 127) for name, w in wanted.items()}
        steps = {name: np.rint(w / scales[name]).astype(np.int8) for name, w in wanted.items()}
        sent = {**steps, **{SCALE + name: np.array(scale) for name, scale in scales.items()}}
        after = {name: w - steps[name] * scales[name] for name, w in wanted.items()}
        return after, write(sent, {"kind": MARK, "samples": str(value.samples)})

    def decode(self, data: bytes, reading: Reading) -> Adapter:
        """See Codec.decode."""
        return _decode(data, reading.receiver.limits.adapter_bytes)

    def expected_bytes(self, outlook: Outlook) -> int:
        """See Codec.expected_bytes."""
        return outlook.numbers

    def claims(self, received: Adapter) -> tuple[int]:
        """See Codec.claims."""
        return (received.samples,)

    def texts(self, data: bytes, words: Words) -> Iterator[Text]:
        """See Codec.texts."""
        return (("a name", name, False) for name in _decode(data, LIMIT).weights)


def _decode(data: bytes, limit: int) -> Adapter:
    sent, header = read(data, MARK, limit)
    steps = {name: sent[name] for name in sorted(sent) if not name.startswith(SCALE)}
    if header.get("kind") != MARK or sent.keys() - steps.keys() != {SCALE + name for name in steps}:
        raise CodecError(f"{MARK}: of another kind, or not one scale for each weight")
    scales = {name: sent[SCALE + name] for name in steps}
    if any(each.dtype != np.int8 for each in steps.values()):
        raise CodecError(f"{MARK}: a weight of another type than int8")
    if any(each.dtype != np.float32 or each.shape or not 0 <= each * 128 <= GREATEST for each in scales.values()):
        raise CodecError(f"{MARK}: a scale that is none")
    return Adapter({name: steps[name] * scales[name] for name in steps}, header_number(MARK, header, "samples"))
