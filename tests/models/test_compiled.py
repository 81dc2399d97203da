"""A body that is compiled for a study: the same steps, nothing of it before and after, clear words where it fails."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lada.core.errors import InputError
from lada.core.terms import Lesson
from lada.models.base import Study
from lada.models.compiled import check_compiler, compiled
from lada.models.learner import HuggingFaceLearner
from lada.models.load import check, load
from lada.models.options import ModelOptions
from lada.objectives.base import OBJECTIVES

LAYERS = 1
"""Each layer is traced on its own, which takes seconds."""


def study(tiny: Any, learner: HuggingFaceLearner) -> None:
    sft = OBJECTIVES.get("sft")
    lessons = [Lesson(str(i), q, p) for i, (q, p) in enumerate(zip(tiny.questions, tiny.paths, strict=True))]
    learner.study(lessons, sft.make(sft.options()), Study(steps=3, batch_size=2), seed=0)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let what is compiled run as it was traced, and return the graphs; PyTorch's kernels would take minutes."""
    found: list[Any] = []
    compile_in_place = nn.Module.compile

    def backend(graph: Any, _: Any) -> Any:
        found.append(graph)
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(nn.Module, "compile", lambda self, **how: compile_in_place(self, backend=backend, **how))
    return found


@pytest.mark.parametrize(
    ("architecture", "tune"), [pytest.param("llama", "full", marks=pytest.mark.slow), ("gpt2", "lora")]
)
def test_steps_are_those_of_the_model_as_it_is(tiny: Any, architecture: str, tune: Any, graphs: list[Any]):
    learners = []
    for compile_ in (False, True):
        learner = tiny.learner(architecture, layers=LAYERS, compile=compile_)
        if tune == "lora":
            from lada.models.adapters import with_adapter

            options = ModelOptions(model="tiny", tune="lora", compile=compile_)
            learner = HuggingFaceLearner(with_adapter(learner.model, options, 0, None), learner.tokenizer, options)
        study(tiny, learner)
        learners.append(learner)
        assert bool(graphs) == compile_
    plain, fast = map(tiny.weights, learners)
    assert list(plain) == list(fast)  # no name tells that it was compiled
    assert all(torch.allclose(plain[name], fast[name], atol=1e-6) for name in plain)
    assert all(module._compiled_call_impl is None for module in learners[1].model.modules())


def test_answers_and_likelihoods_run_what_is_not_compiled(tiny: Any, graphs: list[Any]):
    learner = tiny.learner(layers=LAYERS, compile=True)
    learner.answer(tiny.questions, seed=0)
    learner.judge([(tiny.questions[0], tiny.paths[0])])
    assert not graphs


def test_what_is_saved_is_loaded_again(tiny: Any, tmp_path: Path, graphs: list[Any]):
    learner = tiny.learner(layers=LAYERS, compile=True)
    learner.save(tmp_path / "base")
    study(tiny, learner)
    learner.save(tmp_path / "saved")
    found = load(str(tmp_path / "base"), learner.options, saved=tmp_path / "saved")
    assert all(torch.equal(value, tiny.weights(found)[name]) for name, value in tiny.weights(learner).items())


def test_what_cannot_be_compiled_is_refused_and_left_as_it_was(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    compile_in_place = nn.Module.compile

    def backend(graph: Any, _: Any) -> Any:
        raise RuntimeError("no kernel for this\nand more")

    torch._dynamo.reset()
    monkeypatch.setattr(nn.Module, "compile", lambda self, **how: compile_in_place(self, backend=backend, **how))
    learner = tiny.learner(layers=LAYERS, compile=True)
    before = tiny.weights(learner)
    with pytest.raises(InputError, match=r"^model.compile: true, but torch.compile fails for LlamaModel: .*no kernel"):
        study(tiny, learner)
    assert all(torch.equal(before[name], value) for name, value in tiny.weights(learner).items())
    assert all(module._compiled_call_impl is None for module in learner.model.modules())
    assert not learner.model.training
    learner.answer(tiny.questions, seed=0)


def test_a_model_without_a_part_for_hidden_states_is_refused():
    class Whole(nn.Module):
        @property
        def base_model(self) -> nn.Module:
            return self

    with pytest.raises(InputError, match=r"^model.compile: true, but Whole has no part"), compiled(Whole()):
        pass


def test_a_machine_without_a_compiler_is_told_before_a_run(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tiny.learner().save(tmp_path)
    options = ModelOptions(model="tiny", device="cpu", compile=True, max_new_tokens=24)
    monkeypatch.setattr("lada.models.compiled.which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(InputError, match=r"^model.compile: true needs a C\+\+ compiler on a CPU, and g\+\+, clang"):
        check(str(tmp_path), options)
    monkeypatch.setenv("CXX", "own-c++")
    with pytest.raises(InputError, match=r"own-c\+\+ cannot be found"):
        check(str(tmp_path), options)
    check(str(tmp_path), options.model_copy(update={"compile": False}))
    monkeypatch.setattr("lada.models.compiled.find_spec", lambda name: None)
    with pytest.raises(InputError, match="needs the package triton on a CUDA device"):
        check_compiler(torch.device("cuda"))


@pytest.mark.slow
def test_kernels_that_pytorch_writes_give_the_same_steps(tiny: Any):
    plain, fast = tiny.learner(), tiny.learner(compile=True)
    study(tiny, plain)
    study(tiny, fast)
    for name, value in tiny.weights(plain).items():
        assert torch.allclose(value, tiny.weights(fast)[name], atol=1e-4), name
