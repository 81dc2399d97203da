"""A server that scores prompts as vLLM's and llama-cpp-python's do, with a tiny model behind it."""

from collections.abc import Callable
from typing import Any

import torch
from fake_api import Say

from lada.models.learner import HuggingFaceLearner


def scoring(learner: HuggingFaceLearner, partial: str = "\ufffd") -> Callable[[dict[str, Any], int], Say]:
    """Return what such a server says; a token that is no whole character has the text `partial`."""
    tokenizer, table = learner.tokenizer, learner.vocabulary().tokens

    def text_of(token: int) -> str:
        return table[token].decode("utf-8", "replace").replace("\ufffd", partial)

    @torch.inference_mode()
    def say(request: dict[str, Any], number: int) -> Say:
        prompt = request["prompt"]
        ids = tokenizer(prompt)["input_ids"] if isinstance(prompt, str) else prompt
        logits = learner.model(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)
        own = [float(logits[i - 1, ids[i]]) for i in range(1, len(ids))]
        if "prompt_logprobs" in request:
            rows: list[Any] = [None]
            for i, value in enumerate(own, 1):
                top = logits[i - 1].topk(request["prompt_logprobs"])
                said = {ids[i]: value, **dict(zip(top.indices.tolist(), top.values.tolist(), strict=True))}
                rows.append(
                    {str(id): {"logprob": x, "rank": 1, "decoded_token": text_of(id)} for id, x in said.items()}
                )
            choice: dict[str, Any] = {"text": "x", "prompt_logprobs": rows}
        else:
            assert request["echo"]
            tokens = [*map(text_of, ids), "x"]
            choice = {"text": "", "logprobs": {"tokens": tokens, "token_logprobs": [None, *own, -1.0]}}
        usage = {"prompt_tokens": len(ids), "completion_tokens": request["max_tokens"]}
        return Say({"choices": [choice], "usage": usage})

    return say
