"""A method, such as a plug-in, that fails or breaks its contract ends the run with a line that names it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import make_party, right, wrong

from lada.aggregators.base import Aggregate, Aggregator
from lada.codecs.base import Codec, Codecs
from lada.core.errors import InputError, LadaError, of_method
from lada.core.registry import Options
from lada.core.terms import Allocation, Knowledge, Lesson, Likelihood, Path, Selection
from lada.fusers.base import Fuser
from lada.hooks.base import Hook
from lada.models.base import Study
from lada.policies.base import Policy
from lada.rounds.allocating import allocate_offers
from lada.rounds.averaging import ADAPTER, aggregate_updates
from lada.rounds.fusing import Fusion
from lada.rounds.knowledge import Offer, send_knowledge, write_knowledge
from lada.rounds.options import CLIENT_REPLAY, AveragingOptions
from lada.rounds.party import Party
from lada.rounds.releasing import release_report
from lada.rounds.steps import sft, study
from lada.rounds.wire import write


class Faulty:
    """Does what a test says instead of each verb."""

    needs: Any = None

    def __init__(self, do: Callable[..., Any]) -> None:
        self.do = do

    def init(self, seed: int) -> Any:
        return {}


def fails(*_: Any, **__: Any) -> Any:
    raise LookupError("lost")


FAILED = "it failed with LookupError: lost; fix the method"


class FaultyHook(Faulty, Hook):
    def after_study(self, state: Any, before: Any, after: Any) -> Any:
        return self.do(state, before, after)


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (fails, FAILED),
        (lambda state, before, after: after, "ValueError|TypeError"),
        (lambda state, before, after: (state, {}), "weights with other names or shapes.*'"),
        (
            lambda state, before, after: (state, {n: w[:1] for n, w in after.items()}),
            "weights with other names or shapes",
        ),
        (
            lambda state, before, after: (state, {n: w * np.nan for n, w in after.items()}),
            "weights that are not finite",
        ),
    ],
)
def test_a_hook(tmp_path: FilePath, do: Any, said: str):
    party = make_party("a", set(), tmp_path)
    party.hooks = (("odd", FaultyHook(do)),)
    with pytest.raises(InputError, match=f"hook 'odd': .*({said})"):
        study(party, [Lesson("s", "?", "text")], sft(), Study(steps=1), round=1, phase="study")


class Steered(Faulty, Hook):
    steers = True

    def gradients(self, state: Any, gradients: Any) -> Any:
        return self.do(gradients)


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (fails, FAILED),
        (lambda gradients: None, "AttributeError"),
        (lambda gradients: {}, "gradients with other names or shapes"),
        (lambda gradients: {n: g[:1] for n, g in gradients.items()}, "gradients with other names or shapes"),
    ],
)
def test_what_steers(tmp_path: FilePath, do: Any, said: str):
    party = make_party("a", set(), tmp_path)
    learner: Any = party.learner
    learned = learner.study
    party.hooks = (("first", Hook()), ("odd", Steered(do)))

    def steered(*args: Any, **more: Any) -> Any:
        learner.steer({"w": np.ones((2, 2))})
        return learned(*args, **more)

    learner.study = steered
    with pytest.raises(InputError, match=f"hook 'odd': .*{said}"):
        study(party, [Lesson("s", "?", "text")], sft(), Study(steps=1), round=1, phase="study")


def test_a_model_that_was_spoilt_before_is_no_fault_of_a_hook(tmp_path: FilePath):
    party = make_party("a", set(), tmp_path)
    learner: Any = party.learner
    learner.weights = np.array([np.nan, 1], np.float32)
    party.hooks = (("fine", Hook()),)
    study(party, [Lesson("s", "?", "text")], sft(), Study(steps=1), round=1, phase="study")


class FaultyPolicy(Faulty, Policy):
    def release(self, state: Any, knowledge: Any, owner: Any) -> Any:
        return state, self.do(knowledge)

    def report(self, report: Any, owner: str, address: Any) -> Any:
        return self.do(report)


@pytest.mark.parametrize("texts", [False, True])
@pytest.mark.parametrize(
    ("do", "said"),
    [
        (fails, FAILED),
        (lambda knowledge: None, "AttributeError"),
        (lambda k: replace(k, paths=(*k.paths, k.paths[0])), "a path twice"),
        (lambda k: replace(k, paths=(replace(k.paths[0], sample_id="p99"),)), "was not given"),
    ],
)
def test_a_policy(tmp_path: FilePath, do: Any, said: str, texts: bool):
    party = make_party("a", {0, 1}, tmp_path)
    policy = FaultyPolicy(do)
    policy.texts = texts
    party.policies = (("odd", policy),)
    with pytest.raises(InputError, match=f"policy 'odd': .*{said}"):
        send_knowledge(party, write_knowledge(party, 1, "answer", "paths"), "paths")


class FaultyScores(Faulty, Policy):
    scores = True

    def release_scores(self, state: Any, knowledge: Any, scores: Any, owner: Any) -> Any:
        return state, self.do(dict(scores))


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (fails, FAILED),
        (lambda scores: None, "AttributeError"),
        (lambda scores: {**scores, "p99": scores["p0"]}, "scores of another text"),
        (lambda scores: {"p0": replace(scores["p0"], tokens=scores["p0"].tokens[:-1])}, "scores of another text"),
    ],
)
def test_a_policy_for_scores(tmp_path: FilePath, do: Any, said: str):
    party = make_party("a", {0, 1}, tmp_path, objective="soft_targets")
    party.policies = (("odd", FaultyScores(do)),)
    with pytest.raises(InputError, match=f"policy 'odd': .*{said}"):
        send_knowledge(party, write_knowledge(party, 1, "answer", "paths"), "paths")


def test_a_policy_for_reports_and_one_that_keeps_everything(tmp_path: FilePath):
    party = make_party("a", {0, 1}, tmp_path)
    party.policies = (("odd", FaultyPolicy(fails)),)
    with pytest.raises(InputError, match=f"policy 'odd': {FAILED}"):
        release_report(party, party.report, (1,))
    party.policies = (("silent", FaultyPolicy(lambda k: replace(k, paths=()))),)
    assert send_knowledge(party, write_knowledge(party, 1, "answer", "paths"), "paths")


class Odd(Faulty):
    def apply(self, state: Any, candidates: Any) -> Any:
        return self.do(state, candidates)


def choose(*ids: str) -> Callable[..., Any]:
    choices = tuple(Selection(id, "teacher", 0.0, "") for id in ids)
    return lambda state, candidates: (state, Allocation("llm", "a", 1, choices), {})


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (fails, FAILED),
        (choose("p0", "p0"), "chose a sample twice"),
        (choose("p9"), "each of the 5"),
    ],
)
def test_an_allocator(tmp_path: FilePath, do: Any, said: str):
    party = make_party("a", {1}, tmp_path, allocator=Odd(do))

    def knows(name: str, text: Callable[[int], str]) -> Knowledge:
        told = (text(i) for i in range(5))
        return Knowledge(
            name, 1, tuple(Path(f"p{i}", name, t, t, None, Likelihood(-1, -1, 4, 4)) for i, t in enumerate(told))
        )

    with pytest.raises(InputError, match=f"allocator 'Odd': .*{said}"):
        allocate_offers(party, 1, knows("llm", right), knows("a", lambda i: wrong(i, "a")), replay=CLIENT_REPLAY)


class OddFuser(Faulty, Fuser):
    pairwise = True

    def fuse(self, state: Any, receiver: str, offers: Any, own: Any = None) -> Any:
        return self.do(state)


@pytest.mark.parametrize(("do", "said"), [(fails, FAILED), (lambda state: (state, "nobody"), "that offers none")])
def test_a_fuser(do: Any, said: str):
    path = Path("p0", "a", "text", "text", None, Likelihood(-1, -1, 4, 4))
    offer = Offer(Knowledge("a", 1, (path,)), {}, None)
    allocation = Allocation("a", "llm", 1, (Selection("p0", "teacher", 0.0, ""),))
    with pytest.raises(InputError, match=f"fuser 'OddFuser': .*{said}"):
        Fusion(OddFuser(do), {}, "llm", 1, {}).add(offer, allocation)


class OddAggregator(Faulty, Aggregator):
    def aggregate(self, state: Any, updates: Any) -> Any:
        weights = {client: update.weights for client, update in updates.items()}
        return state, Aggregate(weights["a"], self.do(weights), weights)


class Averaged(AveragingOptions):
    @property
    def aggregator(self) -> Any:
        return "odd", ODD[0]


ODD: list[Aggregator] = []


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (fails, FAILED),
        (
            lambda w: {**w, "stranger": w["a"]},
            "for other clients than those that sent something.*expected weights for a, b",
        ),
        (lambda w: {"a": w["a"]}, "for other clients than those that sent something"),
        (lambda w: {**w, "b": {"w": np.zeros(7, np.float32)}}, "has other names or shapes"),
    ],
)
def test_an_aggregator(tmp_path: FilePath, do: Any, said: str):
    from lada.codecs import adapters

    ODD[:] = [OddAggregator(do)]
    replies = {name: {ADAPTER: adapters.encode({"w": np.array([1], np.float32)}, 1)} for name in "ab"}
    with pytest.raises(InputError, match=f"aggregator 'odd': .*{said}"):
        aggregate_updates(make_party("llm", set(), tmp_path), replies, 1, Averaged())


class OddCodec(Codec[Any, Any]):
    kind = "paths"

    def encode(self, state: Any, value: Any) -> Any:
        return fails()


def test_a_codec(tmp_path: FilePath):
    party: Party = make_party("a", set(), tmp_path)
    party.codecs = Codecs({"odd": OddCodec(Options())})
    with pytest.raises(InputError, match=f"codec 'odd': {FAILED}"):
        write(party, "paths", None)


def test_what_is_told_in_a_line_or_dealt_with_elsewhere_stays_as_it_is():
    with pytest.raises(LadaError, match=r"^known$"), of_method("hook", "odd"):
        raise LadaError("known")
    with pytest.raises(MemoryError), of_method("hook", "odd", unless=lambda error: isinstance(error, MemoryError)):
        raise MemoryError
    with pytest.raises(InputError, match=r"^hook 'odd': it failed with ValueError; fix"), of_method("hook", "odd"):
        raise ValueError
    with pytest.raises(InputError, match="ValueError: two lines; fix"), of_method("hook", "odd"):
        raise ValueError("two\nlines")


@pytest.mark.parametrize(
    "state",
    [
        None,
        [1],
        *(
            {"x": array}
            for array in (None, "text", np.array(["text"]), np.array([{}], object), [[1], [1, 2]], np.array([1j]))
        ),
        {3: np.ones(1)},
    ],
)
def test_a_state_that_no_checkpoint_could_hold(tmp_path: FilePath, state: Any):
    party = make_party("a", set(), tmp_path)
    party.hooks = (("odd", FaultyHook(lambda _, before, after: (state, after))),)
    with pytest.raises(InputError, match=r"state of 'hook/odd/a': .*; expected"):
        study(party, [Lesson("s", "?", "text")], sft(), Study(steps=1), round=1, phase="study")
    allocation = Allocation("llm", "b", 1, ())
    student = make_party("b", set(), tmp_path, allocator=Odd(lambda *_: (state, allocation, {})))
    with pytest.raises(InputError, match=r"state of 'allocator/Odd/llm>b': .*; expected"):
        allocate_offers(student, 1, Knowledge("llm", 1, ()), Knowledge("b", 1, ()), replay=CLIENT_REPLAY)
