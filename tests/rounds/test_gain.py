"""Trust from validation gain, with a learner whose loss on its validation samples moves by script."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath

import numpy as np
import pytest
from actors import PUBLIC, Federation, ScriptedLearner, federation, make, make_party, right, task, wrong
from test_resume import config, outcome

import lada
from lada.allocators.base import ALLOCATORS
from lada.core.errors import InputError
from lada.core.terms import Allocation, Knowledge, Likelihood, Sample, Selection
from lada.core.terms import Path as ReasoningPath
from lada.federation.journal import Journal
from lada.models.base import Course
from lada.models.identity import weights_digest
from lada.rounds import gain
from lada.rounds.gain import check_validation, limit_by_gain, validation
from lada.rounds.party import Party

STEPS = 3
MANY = tuple(Sample(f"p{i}", f"public {i}", f"gold{i}") for i in range(8))


@dataclass
class Pupil(ScriptedLearner):
    """Each step on a path lowers its loss on everything by the number that the path begins with, nats per token.

    As with torch, `adapter` gives the weights themselves and not a copy.
    """

    weights: np.ndarray = field(default_factory=lambda: np.array([2.0], np.float32))

    def study(self, lessons, objective, study, *, seed, course=Course(), progress=lambda *_: None):  # noqa: B008 - it is immutable
        for lesson in lessons:
            self.weights -= np.float32(study.steps * float(lesson.chosen.split()[0]) / len(lessons))
        return super().study(lessons, objective, study, seed=seed, course=course, progress=progress)

    def load_adapter(self, weights):
        self.weights[:] = weights["lora"]

    def judge(self, pairs, *, progress=lambda *_: None):
        self.judged = list(pairs)
        total = -4 * float(self.weights[0])
        return [Likelihood(total, total, 4, len(text)) for _, text in pairs]


class Whole(Pupil):
    """All its weights are tuned, so they come back from the disk alone."""

    def adapter(self):
        raise InputError("model.tune: 'full'; expected 'lora'")

    def save(self, folder: FilePath) -> None:
        folder.mkdir()
        np.save(folder / "weights.npy", self.weights)


def pupil(folder: FilePath, kind: type[Pupil] = Pupil, public: tuple[Sample, ...] = MANY) -> Party:
    party = make_party("llm", set(), folder, data=task(public))
    party.learner = kind({})
    party.reopen = lambda saved: kind({}, weights=np.load(saved / "weights.npy"))
    return party


def offers(gains: Mapping[str, float], count: int = 8) -> tuple[dict[str, Allocation], dict[str, Knowledge]]:
    """Return for each client an allocation of all its paths, each of which changes the loss by its gain a step."""
    likelihood = Likelihood(-1.0, -1.0, 1, 1)
    told = {
        client: Knowledge(
            client,
            1,
            tuple(ReasoningPath(f"p{i}", client, f"{gain} answer", "x", None, likelihood) for i in range(count)),
        )
        for client, gain in gains.items()
    }
    choices = tuple(Selection(f"p{i}", "teacher", 1.0, "") for i in range(count))
    return {client: Allocation(client, "llm", 1, choices) for client in gains}, told


def kept(limited: Mapping[str, Allocation]) -> dict[str, int]:
    return {client: len(each.choices) for client, each in limited.items()}


@pytest.mark.parametrize("kind", [Pupil, Whole])
def test_by_hand(tmp_path: FilePath, kind):
    llm = pupil(tmp_path, kind)
    limited = limit_by_gain(llm, *offers({"a": 0.25, "b": 0.125, "c": -0.25, "d": 0.0625}), 1, STEPS)
    # Worth 3 x (.25, .125, 0, .0625), the median .28125. Of 8 paths 2 are for validation; b keeps all 6, since .375 is
    # more than the median, and d round(6 x .1875 / .28125) = 4 of them.
    assert kept(limited) == {"a": 6, "b": 6, "c": 0, "d": 4}
    held = {lesson.sample_id for lesson in validation(llm)}
    assert len(held) == 2
    assert not held & {choice.sample_id for each in limited.values() for choice in each.choices}
    assert llm.report.notices == (
        "round 1: 6 of 6 chosen paths of c are left out, since 3 steps on them changed the loss of llm on 2 samples of "
        "its own by +0.7500 nats",
        "round 1: 2 of 6 chosen paths of d are left out, since 3 steps on them changed the loss of llm on 2 samples of "
        "its own by -0.1875 nats",
    )
    assert isinstance(llm.learner, Pupil)
    assert type(llm.learner) is kind
    assert llm.learner.weights.tolist() == [2.0]  # it is as it was
    assert [phase.phase for phase in llm.report.phases] == ["trust"]
    assert list((tmp_path / "llm").iterdir()) == []


def test_each_client_is_probed_alone_on_its_own_paths_by_plain_fine_tuning(tmp_path: FilePath):
    llm = pupil(tmp_path)
    allocations, told = offers({"b": 0.25, "a": 0.5})
    *others, last = allocations["a"].choices
    allocations["a"] = replace(allocations["a"], choices=(*others, replace(last, source="student")))
    limited = limit_by_gain(llm, allocations, told, 1, STEPS)
    assert isinstance(llm.learner, Pupil)
    held = {lesson.sample_id for lesson in validation(llm)}
    expected = [(gain, {f"p{i}" for i in range(last)} - held) for gain, last in (("0.5", 7), ("0.25", 8))]
    probes = [({x.chosen.split()[0] for x in s.lessons}, {x.sample_id for x in s.lessons}) for s in llm.learner.studies]
    assert probes == [({gain}, ids) for gain, ids in expected]
    assert {(studied.options.steps, studied.options.batch_size) for studied in llm.learner.studies} == {(STEPS, 16)}
    assert len({studied.seed for studied in llm.learner.studies}) == 1
    assert "p7" in {choice.sample_id for choice in limited["a"].choices} or "p7" in held


class Doubter(Pupil):
    """Its gold texts are as likely as ever; each step on a path makes other answers likelier by its number."""

    def judge(self, pairs, *, progress=lambda *_: None):
        self.judged = list(pairs)
        other = 2.0 - float(self.weights[0])
        totals = [-4.0 if text.endswith(f"gold{q.split()[1]}") else -4.0 + other for q, text in pairs]
        return [Likelihood(total, total, 4, 1) for total in totals]


def test_other_answers_that_become_likelier_are_a_loss(tmp_path: FilePath):
    llm = pupil(tmp_path, Doubter)
    llm.task = replace(llm.task, public=tuple(replace(s, rationale=f"so answer {s.answer}") for s in MANY))
    limited = limit_by_gain(llm, *offers({"a": 1.0, "b": -0.5}), 1, STEPS)
    # log 2 before; log(1 + e^3) = 3.0486 after a, and log(1 + e^-1.5) = 0.2014 after b.
    assert kept(limited) == {"a": 0, "b": 6}
    assert llm.report.notices[0].endswith("by +2.3554 nats")
    assert isinstance(llm.learner, Doubter)
    held = [lesson.sample_id for lesson in validation(llm)]
    first, second = (int(id[1:]) for id in held)
    assert llm.learner.judged == [
        (f"public {first}", f"so answer gold{first}"),
        (f"public {second}", f"so answer gold{second}"),
        (f"public {first}", f"so answer gold{second}"),
        (f"public {second}", f"so answer gold{first}"),
    ]


@pytest.mark.parametrize(
    ("gains", "expected"),
    [
        ({"a": -0.25, "b": -0.5}, {"a": 0, "b": 0}),
        ({"a": 0.25, "b": -0.5, "c": -0.5}, {"a": 6, "b": 0, "c": 0}),  # liars are most
        ({"a": float("nan"), "b": 0.25}, {"a": 0, "b": 6}),
        ({"a": 0.0}, {"a": 0}),
        ({}, {}),
    ],
)
def test_who_has_no_gain_teaches_nothing(tmp_path: FilePath, gains, expected):
    assert kept(limit_by_gain(pupil(tmp_path), *offers(gains), 1, STEPS)) == expected


def test_a_client_of_whom_nothing_was_chosen_is_not_probed(tmp_path: FilePath):
    llm = pupil(tmp_path)
    allocations, told = offers({"a": 0.25, "b": 0.25})
    allocations["b"] = replace(allocations["b"], choices=())
    assert kept(limit_by_gain(llm, allocations, told, 1, STEPS)) == {"a": 6, "b": 0}
    assert isinstance(llm.learner, Pupil)
    assert len(llm.learner.studies) == 1


def test_a_resumed_run_reads_the_gains(tmp_path: FilePath):
    told = offers({"a": 0.25, "b": 0.1, "c": float("nan")})
    first, again = pupil(tmp_path / "first"), pupil(tmp_path / "again")
    first.journal = again.journal = Journal(tmp_path / "journal")
    assert limit_by_gain(first, *told, 1, STEPS) == limit_by_gain(again, *told, 1, STEPS)
    assert isinstance(again.learner, Pupil)
    assert again.learner.studies == []
    assert again.report == first.report


def test_without_gold_answers_the_replayed_samples_are_for_validation(tmp_path: FilePath):
    blind = tuple(replace(sample, answer=None) for sample in PUBLIC)
    llm = make_party("llm", set(), tmp_path, data=task(blind))
    assert [lesson.sample_id for lesson in validation(llm)] == [f"r{i}" for i in range(6)]
    check_validation(llm.task)
    with pytest.raises(InputError, match=r"'gain' needs samples with a gold answer, 4 public ones .* are 0 and none"):
        check_validation(replace(llm.task, replay=()))


def test_a_quarter_of_the_public_samples_is_for_validation_the_same_each_time(tmp_path: FilePath):
    many = tuple(Sample(f"p{i}", f"public {i}", f"gold{i}" if i % 2 else None) for i in range(1000))
    sizes = {count: len(validation(pupil(tmp_path, public=many[:count]))) for count in (8, 30, 1000)}
    assert sizes == {8: 1, 30: 3, 1000: 64}
    ids = [lesson.sample_id for lesson in validation(pupil(tmp_path, public=many))]
    assert ids == [lesson.sample_id for lesson in validation(pupil(tmp_path, public=many))]
    assert ids == sorted(ids, key=lambda id: int(id[1:]))


class Believer(ScriptedLearner):
    """Its loss on all falls with right paths and rises with others."""

    def study(self, lessons, *args, **options):
        self.weights = self.weights - sum(1 if "gold" in x.chosen else -1 for x in lessons) / len(lessons)
        return super().study(lessons, *args, **options)

    def judge(self, pairs, *, progress=lambda *_: None):
        total = -float(self.weights[0])
        return [Likelihood(total, total, 1, len(text)) for _, text in pairs]


def run(folder: FilePath, trust: str) -> Federation:
    knows = {"llm": {0, 1}, "a": {0, 1, 2, 3, 4}, "b": set[int]()}
    sure = {"b": dict.fromkeys(range(5), -0.5)}
    both = federation(folder, "fedmkt", knows, {"trust": trust}, allocator="all", sure=sure)
    learner = both.server.learner
    assert isinstance(learner, ScriptedLearner)
    both.server.learner = Believer(learner.answers, learner.sure)
    both.run(0, 1)
    return both


def test_without_gold_at_the_allocator_the_liars_paths_stay_out(tmp_path: FilePath):
    outcomes = {}
    for trust in ("off", "gain"):
        both = run(tmp_path / trust, trust)
        lessons = both.studies("llm")[-1].lessons
        outcomes[trust] = {x.sample_id: x.chosen for x in lessons if x.sample_id.startswith("p")}
    held = {lesson.sample_id for lesson in validation(both.server)}
    assert outcomes["off"]["p2"] == wrong(2, "b")
    taught = {f"p{i}": right(i) for i in range(5)}
    assert {id: text for id, text in outcomes["gain"].items() if id not in held} == {
        id: text for id, text in taught.items() if id not in held
    }


def test_where_all_study_gold_texts_it_is_refused(tmp_path: FilePath):
    both = federation(tmp_path, "fedmkt", {"llm": {0}, "a": {1}}, {"trust": "gain", "knowledge": "labels"})
    with pytest.raises(InputError, match=r"host\.options\.trust: 'gain' measures"):
        both.host.check(make(ALLOCATORS, "all"), {})


@pytest.mark.parametrize(
    "tune",
    [
        pytest.param({"tune": "full"}, id="full", marks=pytest.mark.slow),
        pytest.param({"tune": "lora", "lora": {"rank": 2}}, id="lora"),
    ],
)
def test_a_run_that_breaks_after_the_probes_goes_on_to_the_same_bits(tmp_path: FilePath, tune, monkeypatch):
    probed: list[str] = []

    def counting(party, *rest):
        before = weights_digest(party.learner.model)
        gains = measure(party, *rest)
        assert weights_digest(party.learner.model) == before
        probed.extend(gains)
        return gains

    def crash(*_, **__):
        raise KeyboardInterrupt

    measure = gain._probed
    monkeypatch.setattr(gain, "_probed", counting)
    run = config(rounds=1, host={"name": "fedmkt", "options": {"trust": "gain", "trust_steps": 1}})
    run["allocator"] = {"name": "random", "options": {"budget": 12}}
    run["server"]["model"] |= tune
    whole = lada.run(run, runs=tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr("lada.rounds.gain.limit", crash)
        with pytest.raises(KeyboardInterrupt):
            lada.run(run, runs=tmp_path / "broken")
    assert outcome(lada.run(run, runs=tmp_path / "broken", resume=True)) == outcome(whole)
    assert probed == ["clinic", "warehouse"] * 2  # not a third time
