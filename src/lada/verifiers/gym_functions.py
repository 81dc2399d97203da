"""The functions of reasoning-gym that a worker process calls: draw questions, and score answers with its verifiers.

A question's entry is JSON with generator, options, seed, size and index, from which the question can be drawn again.
"""

import json
from functools import lru_cache
from typing import Any

import reasoning_gym  # pyright: ignore[reportMissingImports] - an extra
from reasoning_gym.arithmetic.leg_counting import ANIMALS  # pyright: ignore[reportMissingImports]
from reasoning_gym.factory import DATASETS  # pyright: ignore[reportMissingImports]


def generators() -> list[str]:
    """Return the names of all generators that work on their own."""
    return sorted(set(DATASETS) - {"composite"})


def draw(generator: str, options: str, seed: int, size: int, start: int, count: int) -> list[Any]:
    """Return [index, question, gold answer or None] of `count` questions from index `start` on; `options` is JSON."""
    dataset = _dataset(generator, options, seed, size)
    rows = ((index, dataset[index]) for index in range(start, min(start + count, size)))
    return [[index, row["question"], row["answer"] if isinstance(row["answer"], str) else None] for index, row in rows]


def draw_with_metadata(generator: str, options: str, seed: int, size: int, start: int, count: int) -> list[Any]:
    """Return the rows of `draw`, each with its generator's metadata of the question and the animals' numbers of
    legs."""
    dataset = _dataset(generator, options, seed, size)
    told = {"legs": ANIMALS} if generator == "leg_counting" else {}
    rows = ((index, dataset[index]) for index in range(start, min(start + count, size)))
    return [[index, row["question"], row["answer"], _plain(row["metadata"] | told)] for index, row in rows]


def verify(entry: str, answer: str) -> float:
    """Return the score that the generator gives an answer to its question."""
    told = json.loads(entry)
    dataset = _dataset(told["generator"], json.dumps(told["options"]), told["seed"], told["size"])
    return float(dataset.score_answer(answer, dataset[told["index"]]))


def _plain(metadata: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(metadata, default=str))


@lru_cache(maxsize=64)
def _dataset(generator: str, options: str, seed: int, size: int) -> Any:
    return reasoning_gym.create_dataset(generator, seed=seed, size=size, **json.loads(options))
