"""The start, duration and memory of a report's phases, as numbers of a fixed size.

They are a part of their own. In the metrics, the duration of a phase would change their bytes, and equal runs would not
send equal messages.
"""

from collections.abc import Iterator

import numpy as np

from lada.codecs.base import CODECS, Codec, Reading, Text, Words
from lada.codecs.ranges import MEMORY, SECONDS
from lada.core.errors import CodecError
from lada.core.needs import State
from lada.core.plural import counted

KIND = "times"
REPORT = "metrics"
"""The part that holds the phases themselves."""
MEASURED = ("start", "seconds", "peak_memory")
"""The fields of a phase that differ from run to run."""
ROW = 8 * len(MEASURED)
"""Bytes of a phase."""
CLOCKS = 86_400.0
"""Seconds by which the clocks of two machines may differ; the times of a report are moved into the run's time."""


@CODECS.register(KIND, tags=("records",))
class Times(Codec[np.ndarray, np.ndarray]):
    """When the phases of a report began, how long they took, and how much memory they used: float64 [n, 3]."""

    kind = KIND
    about_the_run = True
    shapeless = True

    def encode(self, state: State, value: np.ndarray) -> tuple[State, bytes]:
        """See Codec.encode."""
        return state, value.astype("<f8").tobytes()

    def decode(self, data: bytes, reading: Reading) -> np.ndarray:
        """See Codec.decode. Times are moved into the run's own time; apart from CLOCKS, they are within its age."""
        phases = len(reading.part(REPORT).phases)
        if len(data) != ROW * phases:
            raise CodecError(f"times: {counted(len(data), 'byte')} for {counted(phases, 'phase')}; expected {ROW} each")
        receiver = reading.receiver
        age = receiver.clock() + 1.0  # times are rounded
        # Another machine's clock may be wrong or be set meanwhile; another run's study may have taken longer.
        longest = SECONDS.high if receiver.takes_others_work else age
        received = np.frombuffer(data, "<f8").reshape(-1, len(MEASURED))
        for name, column, most in zip(MEASURED, received.T, (age + CLOCKS, longest + CLOCKS, MEMORY.high), strict=True):
            least = 0 if name == "peak_memory" else -CLOCKS
            if not (np.isfinite(column) & (column >= least) & (column <= most)).all():
                raise CodecError(f"times: {name}: a number that is not finite or out of range")
        return received.clip(0.0, (age, longest, MEMORY.high))

    def texts(self, data: bytes, words: Words) -> Iterator[Text]:
        """See Codec.texts."""
        if len(data) % ROW:
            raise CodecError("times that are no numbers")
        yield from ()
