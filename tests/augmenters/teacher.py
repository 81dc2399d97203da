"""An LLM behind an API that writes questions of the built-in corpus and answers them, right or not, as it is told."""

import hashlib
from collections.abc import Callable
from typing import Any

from fake_api import Say, chat

from lada.core.seeds import generator
from lada.tasks.rulebooks import RULEBOOKS

BOOK = RULEBOOKS.world(0)


def question(prompt: str, seed: int) -> str:
    """Return a new question, the same for the same prompt and seed."""
    address = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4], "big")
    return RULEBOOKS.draw(BOOK, "farm", "pretrain", 1, generator(address, seed), prefix="x")[0].question


def writes(every: int = 1) -> Callable[[dict[str, Any], int], Say]:
    """Return what a server says: a new question to each prompt for one, else a path, which is wrong in seven of ten
    cases unless the question's digest divides by `every`."""

    def say(request: dict[str, Any], number: int) -> Say:
        asked = request["messages"][-1]["content"]
        if "Question:" in asked:
            return chat(f" {question(asked, request['seed'])}\nAnswer: 3", usage=(40, 12))
        found = RULEBOOKS.solve(asked, BOOK)
        digest = hashlib.sha256(asked.encode()).digest()[0]
        guess = (digest + request.get("seed", 0)) % 10
        right = found is not None and (digest % every == 0 or guess > 6)
        return chat(found.rationale if found and right else f"answer {guess}", usage=(20, 8))

    return say
