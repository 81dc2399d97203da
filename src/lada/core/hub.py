"""Ask the Hugging Face Hub, or what HF_ENDPOINT puts in its place, whether it has something."""

from functools import cache
from typing import Literal

SECONDS = 5.0
"""How long the hub may take to say whether it has something."""


@cache
def ask_hub(kind: Literal["model", "dataset"], name: str, revision: str | None) -> None:
    """Return where the hub has it; else raise what huggingface_hub says, at once: loaders would try again and again.

    With HF_HUB_OFFLINE the hub is left alone, and what was downloaded before is used. What the hub has is not asked
    for twice.
    """
    from huggingface_hub import HfApi, constants

    if not constants.HF_HUB_OFFLINE:
        info = {"model": HfApi().model_info, "dataset": HfApi().dataset_info}[kind]
        info(name, revision=revision, timeout=SECONDS)


def reason(error: Exception) -> str:
    """Return the first line of what an error says, or its name where it says nothing."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
