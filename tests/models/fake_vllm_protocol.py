"""vLLM's completions over HTTP, with a tiny model behind them: what `CompletionRequest` takes, and what comes back.

Fields and errors are those of vllm/entrypoints/openai/completion/protocol.py: a prompt is a text, a list of texts,
token ids or a list of these; each has a choice, numbered through; the log-probs of a prompt begin with None; a token's
own log-prob stands first, and those of the likeliest follow; more than `max_logprobs` are refused.
"""

from collections.abc import Callable
from typing import Any

import torch
from fake_api import Say

from lada.models.learner import HuggingFaceLearner


def refused(message: str, param: str | None = None) -> Say:
    """Answer as vLLM does to a request that it cannot take."""
    error = {"message": message, "type": "BadRequestError", "param": param, "code": 400}
    return Say({"error": error}, status=400)


def vllm(
    learner: HuggingFaceLearner, *, max_logprobs: int = 20, max_model_len: int = 512, max_prompts: int = 1024
) -> Callable[[dict[str, Any], int], Say]:
    """Return what such a server says."""
    tokenizer, table = learner.tokenizer, learner.vocabulary().tokens

    def entry(row: torch.Tensor, own: int, k: int) -> dict[str, Any]:
        """Return a position's log-probs, as `dict[int, Logprob]` is dumped."""
        top = row.topk(k) if k else None
        told = {own: float(row[own])}
        told |= {} if top is None else dict(zip(top.indices.tolist(), top.values.tolist(), strict=True))
        ranks = {id: int((row > row[id]).sum()) + 1 for id in told}
        return {
            str(id): {"logprob": value, "rank": ranks[id], "decoded_token": table[id].decode("utf-8", "replace")}
            for id, value in told.items()
        }

    def predicted(ids: list[int]) -> torch.Tensor:
        return learner.model(input_ids=torch.tensor([ids])).logits[0].float().log_softmax(-1)

    def choice(ids: list[int], request: dict[str, Any], index: int) -> dict[str, Any]:
        heat = request.get("temperature", 1.0)
        generator = torch.Generator().manual_seed(request.get("seed") or 0)
        written: list[int] = []
        values: list[float] = []
        stopped = "length"
        while len(written) < request.get("max_tokens", 16):
            row = predicted([*ids, *written])[-1]
            token = int(torch.multinomial((row / heat).softmax(-1), 1, generator=generator) if heat else row.argmax())
            written.append(token)
            values.append(float(row[token]))
            if token == learner.vocabulary().eos:
                stopped = "stop"
                break
        shown = [id for id in written if id not in tokenizer.all_special_ids]  # skip_special_tokens
        told: dict[str, Any] = {
            "index": index,
            "text": b"".join(table[id] for id in shown).decode("utf-8", "replace"),
            "logprobs": None,
            "finish_reason": stopped,
            "stop_reason": None,
            "token_ids": written if request.get("return_token_ids") else None,
            "prompt_token_ids": ids if request.get("return_token_ids") else None,
            "prompt_logprobs": None,
        }
        if request.get("logprobs") is not None:
            told["logprobs"] = {"tokens": [table[id].decode("utf-8", "replace") for id in written]}
            told["logprobs"] |= {"token_logprobs": values, "text_offset": [], "top_logprobs": []}
        if (k := request.get("prompt_logprobs")) is not None:
            rows = predicted(ids)
            told["prompt_logprobs"] = [None, *(entry(rows[i - 1], ids[i], k) for i in range(1, len(ids)))]
        return told

    @torch.inference_mode()
    def say(request: dict[str, Any], number: int) -> Say:
        prompt = request["prompt"]
        several = isinstance(prompt, list) and bool(prompt) and not isinstance(prompt[0], int)
        prompts = prompt if several else [prompt]
        if several and len(prompts) > max_prompts:
            return refused(f"prompt list length {len(prompts)} exceeds the maximum allowed count", "prompt")
        for name, what in (("prompt_logprobs", "prompt"), ("logprobs", "sample")):
            if (request.get(name) or 0) > max_logprobs:
                asked = f"Requested {what} logprobs of {request[name]}"
                return refused(f"{asked}, which is greater than max allowed: {max_logprobs}", name)
        rows = [tokenizer(each)["input_ids"] if isinstance(each, str) else each for each in prompts]
        if longest := next((len(row) for row in rows if len(row) + request.get("max_tokens", 16) > max_model_len), 0):
            told = f"This model's maximum context length is {max_model_len} tokens. However, your request has {longest}"
            return refused(told, "input_tokens")
        choices = [choice(row, request, index) for index, row in enumerate(rows)]
        read, written = sum(map(len, rows)), len(choices)
        usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        return Say({"object": "text_completion", "model": request["model"], "choices": choices, "usage": usage})

    return say
