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
        if not {"prompt_logprobs", "echo"} & request.keys():
            return write(ids, request["max_tokens"], request["temperature"])
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

    def write(ids: list[int], most: int, heat: float) -> Say:
        generator = torch.Generator().manual_seed(0)
        values: list[float] = []
        written: list[int] = []
        while len(written) < most:
            row = learner.model(input_ids=torch.tensor([[*ids, *written]])).logits[0, -1].float().log_softmax(-1)
            token = int(torch.multinomial((row / heat).softmax(-1), 1, generator=generator) if heat else row.argmax())
            if token in (learner.vocabulary().eos, *tokenizer.all_special_ids):
                break
            written.append(token)
            values.append(float(row[token]))
        text = b"".join(table[token] for token in written).decode("utf-8", "replace")
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(written)}
        return Say({"choices": [{"text": text, "logprobs": {"token_logprobs": values}}], "usage": usage})

    return say
