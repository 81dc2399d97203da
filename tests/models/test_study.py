"""Studying: the gradient that the lessons define, however they are cut, and nothing else."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lada.core.errors import InputError
from lada.core.needs import Needs
from lada.core.terms import Lesson
from lada.models.base import Study
from lada.models.learner import HuggingFaceLearner
from lada.models.load import load
from lada.models.objective import Objective, Scored, first_divergence, nll
from lada.models.options import LoraOptions
from lada.models.training import Optimisation


class Spy(Objective):
    """NLL, or whatever `loss` says, over what it was shown."""

    def __init__(self, *, loss: Callable[[Scored], torch.Tensor] = nll, **needs: Any) -> None:
        self.needs = Needs(**needs)
        self.options = None
        self.seen: list[Scored] = []
        self._loss = loss

    def __call__(self, scored: Scored) -> torch.Tensor:
        self.seen.append(scored)
        return self._loss(scored)


def contrast(scored: Scored) -> torch.Tensor:
    """A smooth loss that uses everything there is about pairs."""
    loss = nll(scored)
    if scored.pairs is None:
        return loss
    pairs = scored.pairs
    lead = scored.log_probs[pairs.rows].sum(1) - pairs.reference_chosen
    lead = lead - pairs.log_probs.sum(1) + pairs.reference_rejected
    first = pairs.log_probs.gather(1, pairs.diverges[:, None])[:, 0]
    each = (torch.nn.functional.softplus(-0.1 * lead) + 0.1 * first) * scored.weights[pairs.rows]
    return loss + each.sum() / scored.batch_pairs


def lessons(tiny: Any, weights: tuple[float, ...] = (1.0,) * 8) -> list[Lesson]:
    """Eight lessons of different lengths, of which half have a rejected path."""
    texts = [(q, p) for q in tiny.questions[:2] for p in tiny.paths]
    rejected = [tiny.paths[(i + 1) % 4] if i % 2 else None for i in range(8)]
    return [
        Lesson(f"s-{i}", question, path, other, weight)
        for i, ((question, path), other, weight) in enumerate(zip(texts, rejected, weights, strict=True))
    ]


def study(
    learner: Any, rows: list[Lesson], objective: Objective | None = None, *, seed: int = 0, **options: Any
) -> Any:
    settings = {"steps": 3, "batch_size": 8, **options}
    return learner.study(rows, objective or Spy(), Study(**settings), seed=seed)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def plain_descent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps proportional to the gradient; Adam would blow rounding in tiny gradients up to whole steps."""
    monkeypatch.setattr(
        "lada.models.trainer.make_optimizer",
        lambda model, options: torch.optim.SGD(model.parameters(), lr=options.learning_rate),
    )


STEADY = Optimisation(learning_rate=0.1, warm_up=0.0, floor=1.0, clip=1e9)


@pytest.mark.usefixtures("plain_descent")
@pytest.mark.parametrize("objective", [{}, {"rejected": True, "reference": True, "loss": contrast}])
def test_micro_batches_change_nothing(tiny: Any, architecture: str, objective: dict[str, Any]):
    rows = lessons(tiny, (1.0, 2.0, 0.5, 1.0, 3.0, 0.1, 1.0, 0.2))
    after, losses = {}, {}
    for size in (1, 2, 3, None, 16):
        learner = tiny.learner(architecture)
        losses[size] = study(learner, rows, Spy(**objective), micro_batch_size=size, optimisation=STEADY).last_loss
        after[size] = tiny.weights(learner)
    for size in (1, 2, 3, 16):
        assert losses[size] == pytest.approx(losses[None], abs=1e-5)
        for name, tensor in after[None].items():
            assert torch.allclose(after[size][name], tensor, rtol=0, atol=1e-6), (size, name)
    assert not same(after[None], tiny.weights(tiny.learner(architecture)))


@pytest.mark.usefixtures("plain_descent")
def test_one_step_follows_the_mean_over_answer_tokens(tiny: Any, architecture: str):
    rows = lessons(tiny)
    learner, by_hand = tiny.learner(architecture), tiny.learner(architecture)
    report = study(learner, rows, steps=1, micro_batch_size=3, optimisation=STEADY)
    total, tokens = torch.zeros(()), 0
    for row in rows:
        prompt = by_hand.tokenizer(row.question + "\n")["input_ids"]
        completion = [*by_hand.tokenizer(row.chosen)["input_ids"], by_hand.tokenizer.eos_token_id]
        logits = by_hand.model(input_ids=torch.tensor([prompt + completion])).logits[0]
        for i, token in enumerate(completion):
            total = total - torch.log_softmax(logits[len(prompt) + i - 1], 0)[token]
        tokens += len(completion)
    loss = total / tokens
    loss.backward()
    assert report.first_loss == pytest.approx(loss.item(), abs=1e-5)
    assert report.tokens == tokens
    for found, start in zip(learner.model.parameters(), by_hand.model.parameters(), strict=True):
        assert start.grad is not None
        assert torch.allclose(found, start - 0.1 * start.grad, rtol=0, atol=1e-6)


def test_what_an_objective_sees_of_pairs(tiny: Any):
    learner = tiny.learner()
    rows = lessons(tiny, (1.0, 2.0, 0.5, 1.0, 3.0, 0.1, 1.0, 0.2))
    before = {
        row.sample_id: [learner.judge([(row.question, text or "")])[0].total for text in (row.chosen, row.rejected)]
        for row in rows
    }
    by_weight = {row.weight: row for row in rows if row.weight != 1.0}
    spy = Spy(rejected=True, reference=True)
    report = study(learner, rows, spy, steps=1, micro_batch_size=3)
    assert (report.lessons, report.pairs) == (8, 4)
    assert {scored.batch_pairs for scored in spy.seen} == {2.0 + 1.0 + 0.1 + 0.2}
    encode = learner._encoder.pair
    assert spy.seen[0].batch_tokens == pytest.approx(
        sum(row.weight * len(encode(row.question, row.chosen).completion) for row in rows)
    )
    checked = 0
    for scored in spy.seen:
        if scored.pairs is None:
            continue
        for k, row_number in enumerate(scored.pairs.rows.tolist()):
            row = by_weight.get(round(scored.weights[row_number].item(), 6))
            if row is None:
                continue
            chosen, rejected = before[row.sample_id]
            assert scored.log_probs[row_number].sum().item() == pytest.approx(chosen, abs=1e-4)
            assert scored.pairs.log_probs[k].sum().item() == pytest.approx(rejected, abs=1e-4)
            assert scored.pairs.reference_chosen[k].item() == pytest.approx(chosen, abs=1e-4)
            assert scored.pairs.reference_rejected[k].item() == pytest.approx(rejected, abs=1e-4)
            assert scored.pairs.diverges[k].item() == first_divergence(
                encode(row.question, row.chosen).completion, encode(row.question, row.rejected or "").completion
            )
            checked += 1
    assert checked == 3


def test_a_pair_starts_late_in_both_its_paths_and_in_the_reference(tiny: Any):
    learner = tiny.learner()
    question, chosen, rejected = tiny.questions[0], tiny.paths[0], tiny.paths[3]
    row = Lesson("s", question, chosen, rejected, chosen_start=3, rejected_start=2, teacher_chosen=-4.0)
    cut = replace(row, rejected_start=99, teacher_rejected=-5.0)  # as if the context had cut it before its start
    spy = Spy(rejected=True, reference=True)
    study(learner, [row, cut], spy, steps=1, batch_size=2)
    (scored,) = spy.seen
    assert scored.pairs is not None
    order = [0, 1] if scored.pairs.chosen_start[0] == 3 else [1, 0]
    assert scored.pairs.chosen_start[order].tolist() == [3, 0]
    assert scored.pairs.rejected_start[order].tolist() == [2, 0]
    for k, start in zip(order, (3, 0), strict=True):
        its = scored.log_probs[scored.pairs.rows[k]]
        assert scored.pairs.reference_chosen[k].item() == pytest.approx(its[start:].sum().item(), abs=1e-4)
    for k, start in zip(order, (2, 0), strict=True):
        its = scored.pairs.log_probs[k]
        assert scored.pairs.reference_rejected[k].item() == pytest.approx(its[start:].sum().item(), abs=1e-4)
    assert scored.pairs.teacher_chosen.tolist() == [-4.0, -4.0]
    assert math.isnan(scored.pairs.teacher_rejected[order[0]])
    assert scored.pairs.teacher_rejected[order[1]] == -5.0


def test_without_reference_there_is_none(tiny: Any):
    spy = Spy(rejected=True)
    study(tiny.learner(), lessons(tiny), spy, steps=1)
    assert spy.seen[0].pairs is not None
    assert not spy.seen[0].pairs.reference_chosen.any()
    assert not spy.seen[0].pairs.reference_rejected.any()


def test_rejected_paths_cost_nothing_where_nobody_looks_or_nothing_differs(tiny: Any):
    rows = lessons(tiny)
    bare = [Lesson(row.sample_id, row.question, row.chosen) for row in rows]
    twins = [Lesson(row.sample_id, row.question, row.chosen, row.chosen) for row in rows]
    after, reports = [], []
    for given, rejected in ((bare, True), (rows, False), (twins, True)):
        learner = tiny.learner()
        reports.append(study(learner, given, Spy(rejected=rejected)))
        after.append(tiny.weights(learner))
    assert same(after[0], after[1])
    assert same(after[0], after[2])
    assert reports[0] == reports[1] == reports[2]


def test_it_learns_and_reports(tiny: Any, architecture: str):
    learner, said = tiny.learner(architecture), []
    settings = Study(steps=20, batch_size=4, optimisation=Optimisation(learning_rate=3e-2))
    report = learner.study(lessons(tiny), Spy(), settings, seed=0, progress=lambda *step: said.append(step))
    assert (report.steps, report.lessons, report.pairs) == (20, 8, 0)
    assert report.last_loss < report.first_loss / 2
    assert said[-1] == ("study", 20, 20, report.tokens)
    assert [done for _, done, _, _ in said] == list(range(1, 21))


def test_a_batch_may_be_larger_than_the_lessons(tiny: Any):
    rows = lessons(tiny)[:3]
    assert study(tiny.learner(), rows, batch_size=7).lessons == 3


def test_the_same_seed_gives_the_same_bits(tiny: Any, architecture: str):
    rows = lessons(tiny)
    after = []
    for seed, noise in ((1, 5), (1, 6), (2, 5)):
        learner = tiny.learner(architecture)
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        study(learner, rows, seed=seed, batch_size=2)
        assert torch.equal(torch.get_rng_state(), before)
        after.append(tiny.weights(learner))
    assert same(after[0], after[1])
    assert not same(after[0], after[2])


def test_nothing_to_learn_from(tiny: Any):
    with pytest.raises(InputError, match="there are no lessons"):
        study(tiny.learner(), [])


def test_a_loss_that_is_not_finite_changes_nothing(tiny: Any):
    learner = tiny.learner()
    before = tiny.weights(learner)
    report = study(learner, lessons(tiny), Spy(loss=lambda scored: nll(scored) * math.nan))
    assert same(before, tiny.weights(learner))
    assert math.isnan(report.last_loss)
    assert (report.skipped, report.cut, report.empty) == (report.steps, 0, 0)


def test_lessons_without_a_text_or_an_end_are_counted(tiny: Any):
    learner = tiny.learner()
    long = " ".join(["word"] * learner.encoder.context)
    told = [Lesson("a", "question", text) for text in ("", " ", long, "answer 1")]
    report = study(learner, told)
    assert (report.skipped, report.cut, report.empty) == (0, 1, 2)


def test_dropout_is_on_while_studying_and_off_after_even_after_a_failure(tiny: Any):
    learner, modes = tiny.learner(), []

    def fail(scored: Scored) -> torch.Tensor:
        modes.append(learner.model.training)
        raise RuntimeError("lost")

    with pytest.raises(InputError, match="lost"):
        study(learner, lessons(tiny), Spy(loss=fail))
    assert modes == [True]
    assert not learner.model.training


@pytest.fixture
def folder(tiny: Any, architecture: str, tmp_path: Any) -> str:
    tiny.learner(architecture).save(tmp_path / "base")
    return str(tmp_path / "base")


def lora(tiny: Any, folder: str, saved: Any = None, init_seed: int = 0) -> HuggingFaceLearner:
    options = tiny.learner(tune="lora", lora=LoraOptions(rank=2, alpha=4, dropout=0.5))._options
    return load(folder, options, init_seed=init_seed, saved=saved)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out", "ignore:`is_gradient_checkpointing`")
def test_lora_changes_adapters_only_and_comes_back_to_the_same_bits(tiny: Any, folder: str, tmp_path: Any):
    rows = lessons(tiny)
    pairs = [(row.question, row.chosen) for row in rows]
    learner = lora(tiny, folder)
    assert learner.judge(pairs) == load(folder, tiny.learner()._options).judge(pairs)  # a new adapter does nothing
    before = tiny.weights(learner)
    study(learner, rows)
    after = tiny.weights(learner)
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed
    assert all("lora_" in name for name in changed)
    assert any("lora_A" in name for name in changed)

    again = lora(tiny, folder)
    torch.manual_seed(99)  # dropout comes from the study's seed
    study(again, rows)
    assert same(tiny.weights(again), after)
    assert not same(tiny.weights(lora(tiny, folder, init_seed=1)), before)

    learner.save(tmp_path / "adapter")
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    restored = lora(tiny, folder, tmp_path / "adapter", init_seed=7)
    assert same(tiny.weights(restored), after)
    assert restored.judge(pairs) == learner.judge(pairs)
    study(learner, rows, seed=5)
    study(restored, rows, seed=5)
    assert same(tiny.weights(restored), tiny.weights(learner))


def test_full_tuning_comes_back_to_the_same_bits(tiny: Any, folder: str, tmp_path: Any):
    rows = lessons(tiny)
    options = tiny.learner()._options
    learner = load(folder, options)
    study(learner, rows)
    learner.save(tmp_path / "after")
    restored = load(folder, options, saved=tmp_path / "after")
    assert same(tiny.weights(restored), tiny.weights(learner))
    assert same(tiny.weights(load(str(tmp_path / "after"), options)), tiny.weights(learner))
    assert restored.answer(tiny.questions, seed=0) == learner.answer(tiny.questions, seed=0)
    study(learner, rows, seed=5)
    study(restored, rows, seed=5)
    assert same(tiny.weights(restored), tiny.weights(learner))


@pytest.mark.filterwarnings("ignore:fan_in_fan_out", "ignore:`is_gradient_checkpointing`")
def test_an_adapter_goes_out_and_comes_in(tiny: Any, folder: str):
    a, b = (lora(tiny, folder, init_seed=seed) for seed in (0, 1))
    assert a.adapter().keys() == b.adapter().keys()
    moved = {name: weight + 1 for name, weight in a.adapter().items()}
    b.load_adapter(moved)
    assert all(np.array_equal(b.adapter()[name], weight) for name, weight in moved.items())
    with pytest.raises(InputError, match="not fit"):
        b.load_adapter({"other": np.zeros(2, np.float32)})
    assert (a.scaling, tiny.learner().scaling) == (a._options.lora.alpha / a._options.lora.rank, 1.0)


def test_without_an_adapter_all_weights_go_out_and_come_in(tiny: Any, architecture: str):
    learner = tiny.learner(architecture)
    before = learner.judge([(tiny.questions[0], tiny.paths[0])])
    weights = learner.adapter()
    assert {name: array.shape for name, array in weights.items()} == {
        name: tuple(parameter.shape) for name, parameter in learner.model.named_parameters()
    }
    learner.load_adapter({name: array + 1 for name, array in weights.items()})
    assert learner.judge([(tiny.questions[0], tiny.paths[0])]) != before
    learner.load_adapter(weights)
    assert learner.judge([(tiny.questions[0], tiny.paths[0])]) == before
