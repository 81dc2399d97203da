"""What an augmenter will ask of the server's LLM: calls and tokens, at most."""

from math import ceil
from typing import Any

from lada.augmenters.base import Augmenter
from lada.planning.plan import GenerationPlan, PartyPlan

PER_TOKEN = 4
"""Characters of an instruction per token: our assumption."""


def round_calls(augmenter: Augmenter[Any]) -> int:
    """Return the maximum number of calls of a round: prompts, and paths for each question asked for."""
    options = augmenter.options
    return ceil(options.new / options.per_call) + options.new * options.paths


def generation_plan(name: str, augmenter: Augmenter[Any], rounds: int, llm: PartyPlan) -> GenerationPlan:
    """Return the plan of an augmenter for so many rounds, with the lengths that the LLM's own plan has."""
    options = augmenter.options
    prompts, answers = rounds * ceil(options.new / options.per_call), rounds * options.new * options.paths
    answers += augmenter.calibrated * options.paths if rounds else 0
    calls = min(options.calls, prompts + answers)
    within = calls / max(prompts + answers, 1)
    shown = (augmenter.shown + 1) * llm.prompt + len(options.instruction) // PER_TOKEN
    return GenerationPlan(
        method=name,
        round_calls=min(round_calls(augmenter), options.calls),
        calls=calls,
        read=round(within * (prompts * shown + answers * llm.prompt)),
        written=calls * llm.completion,
    )


def sample_counts(named: tuple[str, Augmenter[Any]] | None, public: int) -> dict[str, int]:
    """Return how many texts the LLM writes in a round, and how many samples a client answers for validation."""
    if named is None:
        return {}
    augmenter = named[1]
    held = round(augmenter.held_out * public)
    return {"drafts": round_calls(augmenter), "validation": held + min(augmenter.probed, public - held)}
