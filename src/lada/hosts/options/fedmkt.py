"""The options of the host `fedmkt`; see lada.hosts.fedmkt."""

import operator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from lada.core.bounds import Rounds
from lada.rounds.options import CLIENT_REPLAY, SERVER_REPLAY, KnowledgeKind, LabelOptions, Replay, SecureOptions

ReadOff = BeforeValidator(lambda value: "off" if value is False else value)
"""YAML reads an unquoted `off` as false."""


class FedmktOptions(LabelOptions, SecureOptions):
    """Options of the mutual round."""

    directions: Literal["both", "llm_to_slm", "slm_to_llm"] = "both"
    """Both ways, only from the LLM to the SLMs (as for an LLM behind an API), or only from the SLMs to the LLM. In the
    last case clients spend their distillation budget on private data too."""
    knowledge: KnowledgeKind = "paths"
    """`paths`: each party's own reasoning paths, from which the allocator chooses. `labels`: the gold texts of the
    public samples, as in the paper. All are studied, and the allocated ones also with the teacher's soft targets. With
    `plugin: none` the default is `labels`."""
    tries: int = Field(1, ge=1, le=1024)
    """Maximum number of paths a party writes for a public question until its answer is right. It sends one of them.
    This has no effect if the gold answer is unknown."""
    average_adapters: bool = False
    """Clients with one model average their LoRA adapters after each round: the paper's homogeneous setting."""
    trust: Annotated[Literal["auto", "off", "agreement", "gain"], ReadOff] = "auto"
    """How far the LLM trusts clients. `off`: it trusts all of them. `agreement`: a client that answers far worse than
    the others teaches it nothing; see lada.rounds.trust. `auto`: as `agreement`, and for questions without a gold
    answer the LLM relies on its own judgement instead of the clients' claims. With labels, a client whose distributions
    contradict the gold texts teaches nothing. `gain`: limit each client's paths by how much a few steps on them improve
    the LLM on samples of its own; see lada.rounds.gain."""
    trust_steps: int = Field(16, ge=1, le=10_000_000)
    """Number of steps on each client's paths with which `gain` is measured."""
    share_votes: bool = Field(False, exclude_if=operator.not_)
    """For an allocator that compares all parties' answers, such as `peer_review`: the server tells each client which
    parties gave the same answers, and how likely the LLM finds their paths. Otherwise a client compares its own answers
    with the LLM's alone."""
    client_replay: Replay = CLIENT_REPLAY
    """What a client replays while it studies the LLM's paths."""
    server_replay: Replay = SERVER_REPLAY
    """What the server replays while it studies the clients' paths."""
    take_over: float | None = Field(None, gt=0, lt=1, exclude_if=lambda value: value is None)
    """Where a client's answer is wrong or, if nobody may know that, differs from the LLM's, the LLM reads the client's
    path and continues it from the first token with a lower probability than this. If that reaches the right answer, or
    the LLM's own, the client is sent this path instead of the LLM's own. None: each client is sent the LLM's own."""
    private_rounds: Rounds | None = None
    """Study private data in the first N rounds only. None means every round, as in the paper."""
