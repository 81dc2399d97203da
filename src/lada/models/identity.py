"""What tells one learner from another that would do otherwise."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from lada.models.base import Learner

if TYPE_CHECKING:
    import torch


def weights_digest(model: torch.nn.Module) -> str:
    """Return the SHA-256 over names, dtypes and bytes of all weights."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def learner_digest(learner: Learner) -> str | None:
    """Return what is equal for learners that do the same with the same: a digest of options and weights.

    None for a learner whose weights are not at hand, as behind an API.
    """
    from lada.models.learner import HuggingFaceLearner  # here, since it brings torch and transformers along

    if not isinstance(learner, HuggingFaceLearner):
        return None
    told = f"{learner.options.model_dump_json()} {learner.device} {weights_digest(learner.model)}"
    return hashlib.sha256(told.encode()).hexdigest()
