"""What a client wrote for held-out public samples and some others, as bytes: paths that no party studies."""

from collections.abc import Sequence

from lada.codecs.base import CODECS, Outlook, Receiver, Size
from lada.codecs.paths import WrittenPaths
from lada.core.terms import Sample

KIND = "outcomes"


@CODECS.register(KIND, tags=("labels",))
class Outcomes(WrittenPaths):
    """What a client wrote for public samples after a round, including those held out for validation."""

    kind = KIND

    def samples(self, receiver: Receiver) -> Sequence[Sample]:
        """See WrittenPaths.samples."""
        return receiver.task.shared

    def expected_bytes(self, outlook: Outlook) -> int:
        """See Codec.expected_bytes. An augmenter says how many samples there are, and not the host."""
        return 0

    def size(self, public: Sequence[Sample], k: int) -> Size:
        """See Codec.size. It is never larger than the paths of the same round."""
        return Size()
