"""What a party received about public samples: texts are held against their limits, answers verified."""

from collections import Counter
from dataclasses import dataclass, field

from lada.codecs.base import Reading, Receiver
from lada.core.errors import FederationError
from lada.core.terms import Knowledge, Likelihood

TOKENS_PER_BYTE = 16
"""Most tokens of a text per byte, and beside these: a normaliser (NFKC) makes eleven bytes of one."""


@dataclass(frozen=True, slots=True)
class Received:
    """Another party's knowledge, verified, and on how many answers a verifier failed, by reason."""

    knowledge: Knowledge
    failures: Counter[str] = field(default_factory=Counter)


def check_signature(what: str, knowledge: Knowledge, reading: Reading) -> None:
    """Raise FederationError where knowledge is not the sender's, or not of the message's round."""
    if (knowledge.party, knowledge.round) != (reading.sender, reading.round):
        raise FederationError(f"{what}: of another party or round than the message")


def check_size(receiver: Receiver, likelihood: Likelihood, text: str) -> None:
    """Raise FederationError where a likelihood cannot be of a text, which everybody has: by its bytes or its tokens.

    A client's model is its own and has TOKENS_PER_BYTE at most. The server's may be behind an API, which counts what it
    thought and does not show.
    """
    size = len(text.encode())
    if likelihood.size != size:
        raise FederationError("likelihoods: of a text of another size")
    if receiver.role == "server" and likelihood.tokens > TOKENS_PER_BYTE * (size + 1):
        raise FederationError(f"likelihoods: more than {TOKENS_PER_BYTE} tokens per byte of a text")
