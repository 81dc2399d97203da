"""The options of the host `fedcollm`; see lada.hosts.fedcollm."""

from lada.rounds.options import SERVER_REPLAY, Replay, SharedSlmOptions


class FedcollmOptions(SharedSlmOptions):
    """Options of FedCoLLM. All clients have the same model, tuned by LoRA."""

    server_replay: Replay = SERVER_REPLAY
    """What the LLM replays while it learns from the SLM."""
