"""The options of the host `fedmd`; see lada.hosts.fedmd."""

from pydantic import Field

from lada.core.bounds import Positive
from lada.rounds.options import CLIENT_REPLAY, SERVER_REPLAY, Average, LabelOptions, Replay


class FedmdOptions(LabelOptions):
    """Options of FedMD and DS-FL."""

    average: Average = "logits"
    """Average the members' logits, as in FedMD, or their probabilities, as in DS-FL."""
    temperature: Positive = 1.0
    """The consensus is raised to the power 1 / temperature; values below 1 sharpen it. DS-FL's entropy reduction uses
    0.1."""
    llm_member: bool = True
    """The LLM contributes to the consensus and learns from it. Otherwise the server only averages, in the LLM's
    tokens."""
    revisit: float = Field(0.5, gt=0, lt=1)
    """Share of a round's private steps that follow the consensus; the rest come before it. Each party thus revisits its
    own data between two digests. The total number of private steps is the same as with any other host."""
    client_replay: Replay = CLIENT_REPLAY
    """What a client replays while it studies the consensus."""
    server_replay: Replay = SERVER_REPLAY
    """What the server replays while it studies the consensus."""
