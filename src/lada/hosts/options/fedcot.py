"""The options of the host `fedcot`; see lada.hosts.fedcot."""

from typing import Literal

from pydantic import Field

from lada.core.registry import Options
from lada.rounds.options import CLIENT_REPLAY, Prompt, Replay


class FedcotOptions(Options):
    """Options of FedCoT."""

    directions: Literal["llm_to_slm"] = "llm_to_slm"
    """From the LLM to the SLMs only. The LLM is not trained, so it may be behind an API."""
    alpha: float = Field(0.5, ge=0, le=1)
    """Weight of the rationales. The labels have weight 1 - alpha."""
    labels: Literal["gold", "llm"] = "gold"
    """Where labels come from: the gold answer, or the answer at the end of the studied path. A sample without a label
    is studied by its rationale alone."""
    label_prompt: Prompt = "[label] {question}"
    """Prompt that asks the SLM for the label alone. The rationale is asked for with the plain question, as in
    evaluation."""
    client_replay: Replay = CLIENT_REPLAY
    """What a client replays while it studies the LLM's paths."""
