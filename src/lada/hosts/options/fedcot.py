"""The options of the host `fedcot`; see lada.hosts.fedcot."""

from typing import Literal

from pydantic import Field

from lada.core.registry import Options
from lada.rounds.options import CLIENT_REPLAY, Prompt, Replay


class FedcotOptions(Options):
    """Options of FedCoT."""

    directions: Literal["llm_to_slm"] = "llm_to_slm"
    """From the LLM to the SLMs: the LLM is not trained, so it may be behind an API."""
    alpha: float = Field(0.5, ge=0, le=1)
    """Weight of the rationales; the labels have the rest."""
    labels: Literal["gold", "llm"] = "gold"
    """Where labels come from: the gold answer, or the answer that the studied path ends in. A sample without one is
    studied by its rationale alone."""
    label_prompt: Prompt = "[label] {question}"
    """What the SLM is asked where it is to give the label alone. The rationale's question is asked as it is, since
    that is how a party is evaluated."""
    client_replay: Replay = CLIENT_REPLAY
    """What a client replays beside the LLM's paths."""
