"""A party's received knowledge about public samples: texts are checked against limits, answers are verified."""

from collections import Counter
from dataclasses import dataclass, field

from lada.codecs.base import Reading, Receiver
from lada.core.errors import FederationError
from lada.core.terms import Knowledge, Likelihood

TOKENS_PER_BYTE = 16
"""The most tokens of a text per byte, and in addition to these: a normaliser (NFKC) may turn one byte into eleven."""


@dataclass(frozen=True, slots=True)
class Received:
    """Another party's verified knowledge, and on how many answers a verifier failed, by reason."""

    knowledge: Knowledge
    failures: Counter[str] = field(default_factory=Counter)


def check_signature(what: str, knowledge: Knowledge, reading: Reading) -> None:
    """Raise FederationError if knowledge is not the sender's, or not of the message's round."""
    if (knowledge.party, knowledge.round) != (reading.sender, reading.round):
        raise FederationError(f"{what}: of another party or round than the message")


def check_size(receiver: Receiver, likelihood: Likelihood, text: str) -> None:
    """Raise FederationError if the bytes or tokens of a likelihood do not fit its text, which all parties have.

    A client's model has at most TOKENS_PER_BYTE. The server's model may be behind an API, which also counts hidden
    thinking.
    """
    size = len(text.encode())
    if likelihood.size != size:
        raise FederationError("likelihoods: of a text of another size")
    if receiver.role == "server" and likelihood.tokens > TOKENS_PER_BYTE * (size + 1):
        raise FederationError(f"likelihoods: more than {TOKENS_PER_BYTE} tokens per byte of a text")
