"""What a stranger may send at most. Both sides hold whatever they are sent against the same limits."""

from pydantic import Field

from lada.core.bounds import Bytes, Seconds
from lada.core.registry import Options


class Limits(Options):
    """Sizes and times beyond which a message is refused; its sender is then left out of the round."""

    max_message_bytes: Bytes = 1 << 30
    """Most bytes of one message as encoded; one with more is not decoded."""
    reply_bytes: Bytes = 4 << 30
    """Most bytes of one reply as encoded, all kinds together."""
    table_bytes: Bytes = 64 << 20
    """Most bytes of paths, likelihoods, a vocabulary or the index of soft targets before compression."""
    sample_bytes: Bytes = 16 << 20
    """Most bytes of one sample's soft targets before compression."""
    adapter_bytes: Bytes = 1 << 30
    """Most bytes of an adapter."""
    report_bytes: Bytes = 4 << 20
    """Most bytes of a party's report about itself, JSON."""
    path_chars: int = Field(default=100_000, ge=1, le=100_000_000)
    """Most characters of one path."""
    notices: int = Field(default=100, ge=0, le=1_000_000)
    """Most notices in one report."""
    check_seconds: Seconds = 300.0
    """Seconds that checking the answers of one message may take."""
