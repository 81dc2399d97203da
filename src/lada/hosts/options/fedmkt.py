"""The options of the host `fedmkt`; see lada.hosts.fedmkt."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from lada.core.bounds import Rounds
from lada.rounds.options import CLIENT_REPLAY, SERVER_REPLAY, KnowledgeKind, LabelOptions, Replay, SecureOptions

ReadOff = BeforeValidator(lambda value: "off" if value is False else value)
"""YAML reads a bare `off` as false."""


class FedmktOptions(LabelOptions, SecureOptions):
    """Options of the mutual round."""

    directions: Literal["both", "llm_to_slm", "slm_to_llm"] = "both"
    """Both ways; from the LLM to the SLMs alone, as with an LLM behind an API; or from the SLMs to the LLM alone, where
    clients study private data for their other budget too."""
    knowledge: KnowledgeKind = "paths"
    """`paths`: each party's own reasoning paths, what plug-ins choose among. `labels`: the gold texts of the public
    samples, as in the paper: all are studied, and those that the allocation chooses with the teacher's soft targets.
    Under `plugin: none` the default is `labels`."""
    tries: int = Field(1, ge=1, le=1024)
    """How many paths a party writes at most for a public question, until its answer is right; it sends one. Of no
    use where the gold answer is unknown."""
    average_adapters: bool = False
    """Clients with one model average their LoRA adapters after each round: the paper's homogeneous setting."""
    trust: Annotated[Literal["auto", "off", "agreement", "gain"], ReadOff] = "auto"
    """What a client's word is worth to the LLM. `agreement`: who answers far worse than the other clients teaches it
    nothing; see lada.rounds.trust. `auto`: that, and for questions without a gold answer the LLM's own judgement in the
    place of what clients claim. With labels, whose distributions contradict the gold
    texts teaches nothing. `gain`: how much a few steps on a client's paths improve the LLM on samples of its own; see
    lada.rounds.gain. `off`: clients are believed."""
    trust_steps: int = Field(16, ge=1, le=10_000_000)
    """Steps on each client's paths by which `gain` is measured."""
    client_replay: Replay = CLIENT_REPLAY
    """What a client replays beside the LLM's paths."""
    server_replay: Replay = SERVER_REPLAY
    """What the server replays beside its clients' paths."""
    private_rounds: Rounds | None = None
    """Study private data in the first so many rounds only; None: in every round, as the paper does."""
