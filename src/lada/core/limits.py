"""Upper limits on what a peer may send. Both sides check every message against the same limits."""

from pydantic import Field

from lada.core.bounds import Bytes, Seconds
from lada.core.registry import Options


class Limits(Options):
    """Limits on sizes and times. A message beyond them is refused, and its sender is left out of the round."""

    max_message_bytes: Bytes = 1 << 30
    """Maximum encoded size of one message, in bytes. A larger one is not decoded."""
    reply_bytes: Bytes = 4 << 30
    """Maximum encoded size of one reply, in bytes, all its parts together."""
    table_bytes: Bytes = 64 << 20
    """Maximum uncompressed size of paths, likelihoods, a vocabulary or the index of soft targets, in bytes."""
    sample_bytes: Bytes = 16 << 20
    """Maximum uncompressed size of one sample's soft targets, in bytes."""
    adapter_bytes: Bytes = 1 << 30
    """Maximum size of an adapter, in bytes."""
    report_bytes: Bytes = 4 << 20
    """Maximum size of a party's report about itself (JSON), in bytes."""
    path_chars: int = Field(default=100_000, ge=1, le=100_000_000)
    """Maximum length of one path, in characters."""
    notices: int = Field(default=100, ge=0, le=1_000_000)
    """Maximum number of notices in one report."""
    check_seconds: Seconds = 300.0
    """Maximum time to check the answers of one message, in seconds."""
