"""The options of the host `fedmd`; see lada.hosts.fedmd."""

from pydantic import Field

from lada.core.bounds import Positive
from lada.rounds.options import CLIENT_REPLAY, SERVER_REPLAY, Average, LabelOptions, Replay


class FedmdOptions(LabelOptions):
    """Options of FedMD and DS-FL."""

    average: Average = "logits"
    """Mean of the members' logits, as in FedMD, or of their probabilities, as in DS-FL."""
    temperature: Positive = 1.0
    """The consensus is taken to the power of its inverse; below 1 it is sharper. DS-FL's entropy reduction: 0.1."""
    llm_member: bool = True
    """The LLM has a say in the consensus and learns it; else the server only averages, in the LLM's tokens."""
    revisit: float = Field(0.5, gt=0, lt=1)
    """Share of a round's private steps that follow the consensus; the rest come before it. So own data is revisited
    between any two digests, and a round has as many private steps as with any other host."""
    client_replay: Replay = CLIENT_REPLAY
    """What a client replays while it digests."""
    server_replay: Replay = SERVER_REPLAY
    """What the server replays beside the consensus."""
