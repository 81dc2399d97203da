"""A hook of one's own: it slows studies down by what it remembers, and freezes some weights."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import make_party
from own_methods import registered
from tiny_run import tiny

from lada.config import make_config
from lada.core.errors import InputError
from lada.core.terms import Lesson
from lada.hooks.base import HOOKS
from lada.models.base import Study
from lada.models.learner import HuggingFaceLearner
from lada.models.options import LoraOptions, ModelOptions
from lada.models.training import Optimisation
from lada.rounds.steps import sft, study


@pytest.fixture(autouse=True)
def plugged() -> Iterator[None]:
    with registered("slower"):
        yield


@dataclass
class Folder:
    """A journal in a folder."""

    path: FilePath

    def load(self, key: str) -> FilePath | None:
        return found if (found := self.path / key).exists() else None

    def save(self, key: str, fill: Callable[[FilePath], None]) -> None:
        (self.path / key).mkdir(parents=True)
        fill(self.path / key)


def scripted(folder: FilePath, weights: float, taught: float) -> Any:
    party = make_party("a", set(), folder)
    party.hooks = (("slower", HOOKS.make("slower", {})),)
    learner: Any = party.learner
    learner.weights = np.array([weights], np.float32)
    learned = learner.study

    def moved(*args: Any, **more: Any) -> Any:
        report = learned(*args, **more)
        learner.weights = learner.weights + np.float32(taught)
        return report

    learner.study = moved
    return party


def test_weights_after_a_study_are_the_hooks_and_its_state_goes_on(tmp_path: FilePath):
    party = scripted(tmp_path, 1.0, 6.0)
    for round, expected in enumerate((7.0, 10.0, 12.0), 1):  # 6, 6 / 2 and 6 / 3 further
        study(party, [Lesson("x", "?", "!")], sft(), Study(steps=1), round=round, phase="private")
        assert party.learner.weights.tolist() == [expected]
    assert int(party.states["hook/slower/a"]["studies"]) == 3


def test_what_it_remembers_is_journalled_with_the_study(tmp_path: FilePath):
    journal = Folder(tmp_path / "journal")
    party = scripted(tmp_path, 1.0, 6.0)
    party.journal = journal
    party.learner.save = lambda folder: (folder.mkdir(), np.save(folder / "w.npy", party.learner.weights))
    study(party, [Lesson("x", "?", "!")], sft(), Study(steps=1), round=1, phase="private")
    resumed = scripted(tmp_path, 1.0, 999.0)  # killed before its checkpoint; it is not to study again
    resumed.journal = journal

    def reopen(folder: FilePath) -> Any:
        resumed.learner.weights = np.load(folder / "w.npy")
        return resumed.learner

    resumed.reopen = reopen
    study(resumed, [Lesson("x", "?", "!")], sft(), Study(steps=1), round=1, phase="private")
    assert resumed.learner.weights.tolist() == party.learner.weights.tolist() == [7.0]
    assert resumed.states["hook/slower/a"] == party.states["hook/slower/a"] == {"studies": 1}


def test_a_gradient_of_nought_moves_nothing(tmp_path: FilePath):
    from lada.models.load import load
    from lada.zoo.shipped import locate

    options = ModelOptions(model="zoo:slm-llama", tune="lora", lora=LoraOptions(dropout=0.0))
    learner = load(locate("zoo:slm-llama"), options, init_seed=1, saved=None)
    assert isinstance(learner, HuggingFaceLearner)
    party = make_party("a", set(), tmp_path)
    party.learner, party.hooks = learner, (("slower", HOOKS.make("slower", {})),)
    before = learner.adapter()
    flat = Study(steps=2, batch_size=2, optimisation=Optimisation(weight_decay=0.0))
    study(party, [Lesson("x", "one?", "two"), Lesson("y", "two?", "three")], sft(), flat, round=1, phase="private")
    after = learner.adapter()
    moved = {name for name in after if not np.array_equal(before[name], after[name])}
    assert moved == {name for name in after if "lora_B" in name}
    assert learner.steer is None


def test_it_is_refused_where_it_would_have_no_say():
    config = make_config(tiny(hooks=["slower"]))
    assert list(config.make_all(HOOKS)) == ["slower"]
    with pytest.raises(InputError, match=r"hooks: unknown name|hook: unknown name 'slowr'.*did you mean 'slower'"):
        make_config(tiny(hooks=["slowr"]))
    parallel = tiny(hooks=["slower"])
    parallel["server"]["model"] = {**parallel["server"]["model"], "parallel": {"processes": 2}}
    with pytest.raises(InputError, match=r"hooks: 'slower' changes gradients, which model\.parallel of"):
        make_config(parallel)
