"""A weighted sum of objectives: its loss, what it needs, what its parts remember, which lesson it takes."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from lada.core.needs import SignalSpec, State
from lada.core.terms import Lesson, Likelihood, Path, Sample
from lada.models.objective import Done, Objective, Scored, Sizes, Soft, nll
from lada.objectives.base import OBJECTIVES
from lada.objectives.soft_targets import SoftTargets, SoftTargetsOptions
from lada.objectives.weighted import DEEPEST, Weighted, WeightedOptions, names_in


def weighted(*parts: Any) -> Any:
    return Weighted(WeightedOptions.model_validate({"objectives": parts}))


def scored(**more: Any) -> Scored:
    student, teacher = (torch.tensor([[a, b]]).log() for a, b in ((0.5, 0.25), (0.25, 0.5)))
    soft = Soft(student, teacher, torch.tensor([0]), torch.tensor([[1, 2]]), columns=torch.tensor([0]))
    mask = torch.ones(2, 1, dtype=torch.bool)
    return Scored(torch.tensor([[-1.0], [-3.0]]), mask, torch.ones(2), None, 2.0, 0.0, soft, **more)


def test_the_loss_is_the_weighted_sum():
    objective = weighted({"name": "sft", "weight": 0.25}, {"name": "soft_targets", "options": {"label_weight": 0.5}})
    expected = 0.25 * nll(scored()) + SoftTargets(SoftTargetsOptions(label_weight=0.5))(scored())
    assert objective(scored()).item() == pytest.approx(expected.item(), rel=1e-6)


def test_options_are_spelled_out_and_needs_added_up():
    objective = weighted("sft", {"name": "soft_targets", "options": {"k": 8}}, {"name": "contrastive", "weight": 2})
    assert objective.options.objectives[1].options["temperature"] == 1.0
    assert objective.needs.signal == SignalSpec(8, "offsets", "mask")
    assert (objective.needs.rejected, objective.needs.reference) == (True, False)
    assert OBJECTIVES.get("weighted").default_needs == OBJECTIVES.get("sft").default_needs
    nested = weighted("sft", {"name": "weighted", "options": {"objectives": ["alm"]}})
    assert nested.needs.signal == SignalSpec(1, "offsets", as_chunks=True)
    assert names_in("weighted", nested.options.model_dump(mode="json")) == ("weighted", "sft", "weighted", "alm")
    assert names_in("sft", {}) == ("sft",)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([], "there is no objective"),
        (["stf"], "unknown name 'stf'.*did you mean 'sft'"),
        ([{"name": "soft_targets", "options": {"k": 0}}], "options.*k is 0"),
        ([{"name": "sft", "options": {"k": 8}}], "options.k: unknown key .its value is 8"),
        ([{"name": "sft", "weight": -1}], "weight"),
        ([{"name": "sft", "weight": float("nan")}], "weight"),
        ([{"weight": 1}], "name"),
        (["soft_targets", "alm"], "two different signals are requested at once"),
    ],
)
def test_impossible_lists_are_refused(parts: list[Any], said: str):
    with pytest.raises(ValidationError, match=said):
        weighted(*parts)


@pytest.mark.parametrize("depth", [DEEPEST, DEEPEST + 1, 50, 5000])
def test_sums_within_sums_are_read_to_a_depth(depth: int):
    """Each level is read several times: fifty of them, a few kilobytes of a server's terms, would never end."""
    options: dict[str, Any] = {"objectives": ["sft"]}
    for _ in range(depth - 1):
        options = {"objectives": [{"name": "weighted", "options": options}]}
    if depth <= DEEPEST:
        assert names_in("weighted", options) == (*["weighted"] * depth, "sft")
    else:
        with pytest.raises(ValidationError, match="sums are nested more than 4 deep"):
            weighted(*options["objectives"])


class Remembers(Objective):
    trained = ("own",)

    def init(self, seed: int, sizes: Sizes | None = None) -> State:
        return {"own": np.array([1.0]), "seed": np.array(seed)}

    def __call__(self, scored: Scored) -> torch.Tensor:
        scored.observe("sum", scored.weights.sum())
        return scored.parameters["own"].sum() + float(scored.state["own"][0])

    def after_step(self, state: State, done: Done) -> State:
        return {**state, "saw": done.observed["sum"]}

    def lesson(self, sample: Sample, chosen: Path, other: Path) -> Lesson | None:
        return Lesson("other", "?", other.text)


def test_each_part_has_a_state_parameters_and_observations_of_its_own():
    objective = weighted("sft", "sft")
    objective.parts = {"0.": Remembers(), "1.": Remembers()}
    objective.trained = ("0.own", "1.own")
    state = objective.init(7)
    assert set(state) == {"0.own", "0.seed", "1.own", "1.seed"}
    assert state["0.seed"] != state["1.seed"]
    seen: dict[str, torch.Tensor] = {}
    parameters = {"0.own": torch.tensor([10.0]), "1.own": torch.tensor([20.0])}
    given = scored(state={**state, "1.own": np.array([2.0])}, parameters=parameters, observe=seen.__setitem__)
    assert objective(given).item() == 10 + 1 + 20 + 2
    assert set(seen) == {"0.sum", "1.sum"}
    after = objective.after_step(state, Done(0, 1, 0, 1, 0.0, {"0.sum": np.array(1.0), "1.sum": np.array(2.0)}))
    assert (after["0.saw"], after["1.saw"], after["1.own"]) == (1.0, 2.0, 1.0)


def test_the_first_that_has_a_say_picks_the_lesson():
    sample = Sample("s", "why?")
    right, wrong = (
        Path("s", "x", text, text, good, Likelihood(-1, -1, 1, 1)) for text, good in (("a", True), ("b", False))
    )
    assert weighted("sft").lesson(sample, wrong, right) == Lesson("s", "why?", "b")
    assert weighted("sft", "contrastive").lesson(sample, wrong, right) == Lesson("s", "why?", "a", "b")
