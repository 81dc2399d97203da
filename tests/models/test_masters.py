"""Float32 masters: against a loop that rounds a fresh copy for each step, and over saving and averaging."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from lada.core.terms import Lesson
from lada.models.base import Study
from lada.models.learner import HuggingFaceLearner
from lada.models.load import load
from lada.models.options import ModelOptions
from lada.models.private import Privacy
from lada.models.training import Optimisation
from lada.objectives.base import OBJECTIVES

LESSONS = [Lesson("1", "how many boxes ?", "answer 5"), Lesson("2", "how many boxes ?", "answer 6")]
"""Two of the same length, so that each batch holds both."""
STEADY = Optimisation(learning_rate=1e-5, warm_up=0.0, floor=1.0, clip=1e9, weight_decay=0.1)
NARROW = [torch.bfloat16, torch.float16]


def make(tiny: Any, architecture: str, dtype: torch.dtype) -> HuggingFaceLearner:
    tokenizer = tiny.tokenizer()
    model = tiny.model(architecture, len(tokenizer)).to(dtype)
    return HuggingFaceLearner(model, tokenizer, ModelOptions(model="tiny", max_new_tokens=8))


def study(learner: HuggingFaceLearner, steps: int = 20, **options: Any) -> Any:
    sft = OBJECTIVES.get("sft")
    settings = {"steps": steps, "batch_size": 2, "optimisation": STEADY, **options}
    return learner.study(LESSONS, sft.make(sft.options()), Study(**settings), seed=0)


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> float:
    """Return the share of norm weights, which are all near 1, that changed."""
    norms = [after[name] != before[name] for name in after if after[name].dim() == 1]
    return torch.cat(norms).float().mean().item()


@pytest.mark.parametrize("dtype", NARROW)
def test_a_study_is_that_of_a_loop_with_a_fresh_copy_for_each_step(
    tiny: Any, architecture: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
):
    # Plain descent, since AdamW makes whole steps of gradients that are rounding alone.
    monkeypatch.setattr(
        "lada.models.trainer.make_optimizer", lambda weights, options: torch.optim.SGD(weights.parameters(), lr=1e-3)
    )
    learner = make(tiny, architecture, dtype)
    slow = copy.deepcopy(learner.model).float()
    before = copy.deepcopy(slow)
    rows = [learner.encoder.pair(lesson.question, lesson.chosen) for lesson in LESSONS]
    total = sum(len(row.completion) for row in rows)
    for _ in range(20):
        for row in rows:
            fresh = copy.deepcopy(slow).to(dtype)
            ids = torch.tensor([row.prompt + row.completion])
            log_probs = fresh(input_ids=ids).logits[0, :-1].float().log_softmax(1).gather(1, ids[0, 1:, None])
            (-log_probs[len(row.prompt) - 1 :].sum() / total).backward()
            for master, weight in zip(slow.parameters(), fresh.parameters(), strict=True):
                if weight.grad is not None:
                    master.grad = weight.grad.float() + (0 if master.grad is None else master.grad)
        with torch.no_grad():
            for master in slow.parameters():
                if master.grad is not None:
                    master -= 1e-3 * master.grad
                    master.grad = None
    study(learner, micro_batch_size=1, optimisation=STEADY.model_copy(update={"learning_rate": 1e-3}))
    start, found, expected = (
        torch.cat([weight.detach().flatten() for weight in model.parameters()])
        for model in (before, learner.model, slow)
    )
    difference = ((found - start) - (expected - start)).norm() / (expected - start).norm()
    assert difference < 0.02


@pytest.mark.parametrize("dtype", NARROW)
def test_norms_move_as_in_float32(tiny: Any, architecture: str, dtype: torch.dtype):
    shares = []
    for each in (torch.float32, dtype):
        learner = make(tiny, architecture, each)
        before = tiny.weights(learner)
        study(learner)
        shares.append(moved(before, tiny.weights(learner)))
    assert shares == [1.0, 1.0]


def test_what_computes_is_rounded(tiny: Any, architecture: str):
    learner = make(tiny, architecture, torch.bfloat16)
    study(learner)
    rounded = HuggingFaceLearner(copy.deepcopy(learner.model).bfloat16(), learner.tokenizer, learner.options)
    pairs = [(lesson.question, lesson.chosen) for lesson in LESSONS]
    assert learner.judge(pairs) == rounded.judge(pairs)
    assert learner.answer(["how many ?"], seed=0) == rounded.answer(["how many ?"], seed=0)
    assert (learner.embed(["how many ?"]) == rounded.embed(["how many ?"])).all()
    assert {weight.dtype for weight in learner.model.parameters()} == {torch.float32}
    assert {weight.dtype for weight in rounded.model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_study_goes_on_from_a_checkpoint_with_the_same_bits(tiny: Any, architecture: str, dtype: str, tmp_path: Path):
    make(tiny, architecture, getattr(torch, dtype)).save(tmp_path / "base")
    options = ModelOptions(model="tiny", dtype=dtype, device="cpu", max_new_tokens=8)  # pyright: ignore[reportArgumentType]
    first, place = load(str(tmp_path / "base"), options), tmp_path / "base"
    for round in range(3):
        learner = load(str(tmp_path / "base"), options, saved=place)
        assert all(torch.equal(a, b) for a, b in zip(first.model.parameters(), learner.model.parameters(), strict=True))
        assert first.model.dtype == learner.model.dtype == (torch.float32 if round else getattr(torch, dtype))
        assert first.answer(["how many ?"], seed=0) == learner.answer(["how many ?"], seed=0)
        for each in (first, learner):
            study(each, steps=3)
        place = tmp_path / str(round)
        learner.save(place)


def test_an_average_that_is_taken_keeps_what_rounding_would_lose(tiny: Any, architecture: str):
    learner = make(tiny, architecture, torch.bfloat16)
    wanted = {name: weight + weight * 1e-4 for name, weight in learner.adapter().items()}
    learner.load_adapter(wanted)
    assert all((weight == wanted[name]).all() for name, weight in learner.adapter().items())


def test_without_an_update_nothing_is_widened(tiny: Any, tmp_path: Path):
    learner = make(tiny, "llama", torch.bfloat16)
    learner.answer(["how many ?"], seed=0)
    learner.save(tmp_path)
    assert learner.model.dtype == torch.bfloat16
    options = ModelOptions(model="tiny", dtype="bfloat16", device="cpu")
    assert load(str(tmp_path), options, saved=tmp_path).model.dtype == torch.bfloat16


def test_a_study_that_breaks_leaves_masters_and_no_hooks(tiny: Any):
    learner = make(tiny, "llama", torch.bfloat16)

    def stop(verb: str, done: int, total: int, tokens: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    sft = OBJECTIVES.get("sft")
    with pytest.raises(KeyboardInterrupt):
        learner.study(LESSONS, sft.make(sft.options()), Study(steps=3, batch_size=2), seed=0, progress=stop)
    assert learner.model.dtype == torch.float32
    assert not any(weight._post_accumulate_grad_hooks for weight in learner.model.parameters())


def test_private_studies_have_masters_too(tiny: Any):
    learner = make(tiny, "llama", torch.bfloat16)
    before = tiny.weights(learner)
    study(learner, steps=3, dp=Privacy(noise_multiplier=1.0, seeded=True))
    assert moved(before, tiny.weights(learner)) == 1.0


def test_an_adapter_is_float32_over_a_base_that_stays_as_it_is(tiny: Any, tmp_path: Path):
    make(tiny, "llama", torch.bfloat16).save(tmp_path)
    options = ModelOptions(model="tiny", tune="lora", dtype="bfloat16", device="cpu")
    learner = load(str(tmp_path), options)
    study(learner, steps=2)
    kinds = {weight.requires_grad: weight.dtype for weight in learner.model.parameters()}
    assert kinds == {True: torch.float32, False: torch.bfloat16}
