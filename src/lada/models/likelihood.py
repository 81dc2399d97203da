"""Token log-probs of completions under a causal LM."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lada.models.encoding import Encoded, pad_right


def token_log_probs(model: Any, rows: Sequence[Encoded], pad: int) -> tuple[Tensor, Tensor]:
    """Return log-probs and mask of the completion tokens, each [n, longest completion], aligned at the left.

    Log-probs are natural, float32 whatever the model's dtype, and 0 where the mask is False. Gradients flow.
    """
    ids, seen, answer = pad_right(rows, pad, model.device)
    logits = model(input_ids=ids, attention_mask=seen).logits
    # Token t is predicted at position t - 1; a prompt has at least one token, so no completion token is lost.
    predicted, target = logits[:, :-1], answer[:, 1:]
    picked = predicted[target].float()  # [tokens, vocabulary]: prompt and padding positions cost nothing here
    flat = picked.gather(1, ids[:, 1:][target][:, None])[:, 0] - picked.logsumexp(1)
    counts = target.sum(1)
    mask = torch.arange(int(counts.max()), device=counts.device)[None, :] < counts[:, None]
    return torch.zeros(mask.shape, device=flat.device).masked_scatter(mask, flat), mask
