"""Ask the Hugging Face Hub, or the server in HF_ENDPOINT, whether it has something."""

from functools import cache
from typing import Literal

SECONDS = 5.0
"""Maximum time for the hub to answer, in seconds."""


@cache
def ask_hub(kind: Literal["model", "dataset"], name: str, revision: str | None) -> None:
    """Return if the hub has it. Otherwise raise huggingface_hub's error at once, instead of retrying as loaders do.

    With HF_HUB_OFFLINE the hub is not asked, and earlier downloads are used. The same question is asked only once.
    """
    from huggingface_hub import HfApi, constants

    if not constants.HF_HUB_OFFLINE:
        info = {"model": HfApi().model_info, "dataset": HfApi().dataset_info}[kind]
        info(name, revision=revision, timeout=SECONDS)


def reason(error: Exception) -> str:
    """Return the first line of an error's text, or its class name if it has none."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
