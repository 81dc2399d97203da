"""A student forgets its trials except for those that it keeps, and the study that follows is shorter by their cost."""

from collections.abc import Callable, Sequence
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest
from actors import DISTIL, ScriptedLearner, federation, make_party, right, task, wrong
from test_resume import Crash, outcome
from test_resume import config as resumable

import lada
from lada.allocators.base import Candidates, NoTrials
from lada.allocators.memoryless import Memoryless
from lada.config import make_config
from lada.core.errors import InputError
from lada.core.registry import Options
from lada.core.seeds import seed_of
from lada.core.terms import Allocation, Knowledge, Likelihood, Path, Sample, Selection
from lada.learners.base import LEARNERS
from lada.models.base import Studies, Study
from lada.rounds.allocating import allocate_offers
from lada.rounds.distilling import distil, lessons_of
from lada.rounds.knowledge import Offer
from lada.rounds.options import Replay
from lada.rounds.party import Party
from lada.rounds.trials import PartyTrials

NO_REPLAY = Replay(private=0, paths=0, general=0, least=0)


class Trying(Memoryless):
    """Does with the trials what it is told, and takes the first path."""

    def __init__(self, do: Callable[[Candidates], Any]) -> None:
        super().__init__(Options())
        self.do = do

    def apply(self, state: Any, candidates: Candidates) -> Any:
        """See Allocator.apply."""
        self.found = self.do(candidates)
        choices = (Selection(candidates.samples[0].id, "teacher", 1.0, "first"),)
        return state, Allocation(candidates.teacher, candidates.student, candidates.round, choices), {}


class Forgetful(ScriptedLearner):
    """Its weights number what it has come to know, and with them it knows no more; see ScriptedLearner."""

    def __init__(self, answers: dict[str, str]) -> None:
        super().__init__(answers)
        self.known = {0: dict(answers)}
        self.loaded: list[int] = []

    def study(self, lessons: Any, *args: Any, **more: Any) -> Any:
        report = super().study(lessons, *args, **more)
        self.weights = np.full_like(self.weights, len(self.known))
        self.known[int(self.weights[0])] = dict(self.answers)
        return report

    def load_adapter(self, weights: Any) -> None:
        super().load_adapter({name: weight.copy() for name, weight in weights.items()})
        self.loaded.append(int(self.weights[0]))
        self.answers = dict(self.known[int(self.weights[0])])

    def judge(self, pairs: Any, **more: Any) -> Any:
        """Find likelier what it would say."""
        self.judgements = dict.fromkeys(self.answers.values(), -1.0)
        return super().judge(pairs, **more)


def knowledge(party: Party, texts: Sequence[str], name: str = "a") -> Knowledge:
    paths = [
        Path(s.id, name, text, party.task.extract(text), None, Likelihood(-1.0, -1.0, 4, max(1, len(text))))
        for s, text in zip(party.task.public, texts, strict=True)
    ]
    return Knowledge(name, 1, tuple(paths))


def student(folder: FilePath, do: Callable[[Candidates], Any], study: Study = DISTIL, **more: Any) -> Any:
    party = make_party("a", {1}, folder, allocator=Trying(do), **more)
    assert isinstance(party.learner, ScriptedLearner)
    party.learner = Forgetful(party.learner.answers)
    party.studies = Studies(party.studies.private, study)
    return party


def choose(
    party: Party, *, theirs: Sequence[str] | None = None, replay: Replay = NO_REPLAY, teachers: int = 1, round: int = 1
) -> tuple[Allocation, Knowledge, Knowledge]:
    own = knowledge(party, [right(i) if i == 1 else wrong(i, "a") for i in range(5)])
    offered = knowledge(party, theirs or [right(i) for i in range(5)], "llm")
    return allocate_offers(party, round, offered, own, replay=replay, teachers=teachers), offered, own


def learn(party: Party, **more: Any) -> None:
    allocation, offered, own = choose(party, **more)
    lessons = lessons_of(party, allocation, Offer(offered, {}, None), own)
    distil(party, 1, lessons, own, replay=more.get("replay", NO_REPLAY), teachers="llm")


def twice(candidates: Candidates) -> list[list[bool]]:
    """Study path 0, and from there paths 2 and 3 apart, each time asked all but the first."""
    trials = candidates.trials
    start = trials.study([0], 0.2)
    return [trials.examine(trials.study([i], 0.2, start), [1, 2, 3, 4]).tolist() for i in (2, 3)]


FOUND = [[True, True, False, False], [True, False, True, False]]
"""Path 1 it knew. What one copy studied, the other does not know."""


def test_each_study_begins_with_the_weights_it_is_told_and_the_student_is_left_with_its_own(tmp_path: FilePath):
    party = student(tmp_path, twice)
    before = dict(party.learner.answers)
    choose(party)
    assert party.allocator.found == FOUND
    learner = party.learner
    assert [list(study.texts()) for study in learner.studies] == [["p0"], ["p2"], ["p3"]]
    assert learner.loaded == [0, 1, 2, 1, 3, 0]  # before each study and examination, and in the end
    assert (dict(learner.answers), learner.weights.tolist()) == (before, [0, 0])
    assert {study.objective.title for study in learner.studies} == {"sft"}


def test_studies_share_their_random_numbers_by_how_many_are_behind_them(tmp_path: FilePath):
    def races(candidates: Candidates) -> None:
        start = candidates.trials.study([0], 0.1)
        one, other = (candidates.trials.study([i], 0.1, start) for i in (1, 2))
        for copy in (one, other, None, start):
            candidates.trials.study([3], 0.1, copy)

    party = student(tmp_path, races)
    choose(party)
    first = seed_of(3, 1, "try", "a")
    behind = [0, 1, 1, 2, 2, 0, 1]
    assert [study.seed for study in party.learner.studies] == [seed_of(first, number) for number in behind]
    choose(party, round=2)
    assert len({study.seed for study in party.learner.studies}) == 6


def test_copies_go_on_from_their_own_weights(tmp_path: FilePath):
    def races(candidates: Candidates) -> list[list[bool]]:
        trials = candidates.trials
        one, other = (trials.study([i], 0.2) for i in (0, 2))
        one, other = trials.study([3], 0.2, one), trials.study([4], 0.2, other)
        return [trials.examine(copy, [0, 2, 3, 4]).tolist() for copy in (one, other, one)]

    party = student(tmp_path, races)
    choose(party)
    one, other = [True, False, True, False], [False, True, False, True]
    assert party.allocator.found == [one, other, one]


def test_the_student_is_left_with_what_it_keeps(tmp_path: FilePath):
    def keeps(candidates: Candidates) -> None:
        one, other = (candidates.trials.study([i], 0.2) for i in (0, 2))
        candidates.trials.keep(other)
        candidates.trials.keep(one)  # the last word holds
        candidates.trials.examine(other, [1])

    for do, kept in ((keeps, True), (twice, False)):
        party = student(tmp_path / str(kept), do, Study(steps=50))
        party.memory |= {party.knows("answers"): b"of before", "knows b": b"another's", "else": b"more"}
        party.saved_as = "private"
        choose(party)
        assert party.learner.weights.tolist() == [float(kept)] * 2
        assert party.learner.answers["public 0"] == (right(0) if kept else wrong(0, "a"))
        assert party.learner.answers["public 2"] == wrong(2, "a")
        # Whatever it knew by its weights before, it does not know by others.
        assert party.saved_as == ("" if kept else "private")
        assert (party.knows("answers") in party.memory) is not kept
        assert party.memory.keys() >= {"knows b", "else"}
        assert party.tried == pytest.approx(0.4 if kept else 0.6)


def test_likelihoods_are_means_per_token_with_the_weights_it_is_told(tmp_path: FilePath):
    found: list[Any] = []

    def judges(candidates: Candidates) -> None:
        one, other = (candidates.trials.study([i], 0.2) for i in (3, 2))
        for copy in (one, other):
            found.append(candidates.trials.likelihoods(copy, [2, 1, 3]))
            found.append(list(party.learner.judged))

    party = student(tmp_path, judges)
    choose(party)
    one, asked, other, again = found
    assert one.dtype == other.dtype == np.float64
    assert (one.tolist(), other.tolist()) == ([-0.5, -0.25, -0.25], [-0.25, -0.25, -0.5])  # of four tokens each
    assert asked == again == [(f"public {i}", right(i)) for i in (2, 1, 3)]
    assert party.learner.weights.tolist() == [0, 0]


def test_trials_are_part_of_the_study(tmp_path: FilePath):
    party = student(tmp_path, twice, Study(steps=50))
    learn(party)
    assert [study.options.steps for study in party.learner.studies] == [10, 10, 10, 20]
    assert party.tried == 0
    (record,) = party.report.allocations
    assert record.trial_tokens == 300  # ten a step
    assert [phase.phase for phase in party.report.phases] == ["judge", "try", "distil"]
    assert [study.phase for study in party.report.studies] == ["distil"]  # no study of its own in the report


@pytest.mark.parametrize(
    ("study", "parts"),
    [
        ({"tokens": 1000}, [200, 200, 200, 400]),
        ({"epochs": 5.0}, [1.0, 1.0, 1.0, 2.0]),
        ({"steps": 2}, [1, 1, 1, 1]),  # a step at least
    ],
)
def test_of_whatever_the_budget_is_in(tmp_path: FilePath, study: dict[str, Any], parts: list[float]):
    party = student(tmp_path, twice, Study(**study))
    learn(party)
    (unit,) = study
    assert [getattr(each.options, unit) for each in party.learner.studies] == pytest.approx(parts)


def test_of_several_teachers_each_has_an_equal_part(tmp_path: FilePath):
    party = student(tmp_path, twice, Study(steps=100))
    for _ in range(2):
        choose(party, teachers=2)
    assert party.tried == pytest.approx(0.6)
    assert [study.options.steps for study in party.learner.studies] == [10] * 6
    learn(party, teachers=2)
    assert party.learner.studies[-1].options.steps == 10
    assert party.tried == 0


def test_however_much_was_tried_something_is_left(tmp_path: FilePath):
    party = student(tmp_path, lambda c: [c.trials.study([0], 0.5) for _ in range(5)], Study(steps=100))
    learn(party)
    assert party.learner.studies[-1].options.steps == 1


def test_where_nothing_was_chosen_the_next_round_has_its_whole_budget(tmp_path: FilePath):
    party = student(tmp_path, twice, Study(steps=50))
    _, _, own = choose(party)
    distil(party, 1, [], own, replay=NO_REPLAY, teachers="llm")
    assert party.tried == 0
    assert len(party.learner.studies) == 3
    party.allocator = Trying(lambda _: None)
    learn(party)
    assert party.learner.studies[-1].options.steps == 50


def test_nothing_tried_nothing_changed(tmp_path: FilePath):
    party = student(tmp_path, lambda _: None)
    learn(party)
    assert (party.learner.loaded, len(party.learner.studies)) == ([], 1)
    assert party.learner.studies[0].options.steps == DISTIL.steps
    assert "trial_tokens" not in party.report.allocations[0].model_dump()


def test_an_error_on_trial_leaves_the_student_as_it_was(tmp_path: FilePath):
    def breaks(candidates: Candidates) -> None:
        twice(candidates)
        candidates.trials.keep(candidates.trials.study([4], 0.2))
        raise LookupError("lost")

    party = student(tmp_path, breaks, Study(steps=50))
    before = dict(party.learner.answers)
    with pytest.raises(InputError, match="allocator 'Trying': it failed with LookupError: lost"):
        choose(party)
    assert (dict(party.learner.answers), party.learner.weights.tolist(), party.tried) == (before, [0, 0], 0)
    assert list(party.folder.glob("tmp*")) == []


@pytest.mark.parametrize(
    ("trust", "said"),
    [("off", wrong(1, "z")), ("agreement", right(1)), ("auto", right(1)), ("gain", wrong(1, "llm"))],
)
def test_nothing_is_kept_of_a_client_that_is_not_believed(tmp_path: FilePath, trust: str, said: str):
    def keeps(candidates: Candidates) -> None:
        candidates.trials.keep(candidates.trials.study([1], 0.2))

    public = tuple(Sample(f"p{i}", f"public {i}", f"gold{i}") for i in range(60))
    everything = set(range(60))
    knows: dict[str, set[int]] = {"llm": set(), "a": everything, "b": everything, "z": set()}
    options = {"trust": trust, "directions": "slm_to_llm"}
    made = federation(tmp_path, "fedmkt", knows, options, allocator=Trying(keeps), data=task(public))
    assert isinstance(made.server.learner, ScriptedLearner)
    made.server.learner = learner = Forgetful(made.server.learner.answers)
    made.run(1)
    assert [study.lessons[0].chosen for study in learner.studies[:3]] == [right(1), right(1), wrong(1, "z")]
    assert learner.answers["public 1"] == said  # the study that follows is of question 0 alone


def by_way_of_the_disk(party: Any) -> None:
    """Let a party's learner have no adapter, as one whose whole model is tuned."""
    learner = party.learner

    def no_adapter() -> Any:
        raise InputError("it has no adapter")

    def save(folder: FilePath) -> None:
        folder.mkdir()  # as wherever else a learner is saved, there is none yet
        np.save(folder / "weights.npy", learner.weights)

    def reopen(folder: FilePath) -> Any:
        Forgetful.load_adapter(learner, {"lora": np.load(folder / "weights.npy")})
        return learner

    learner.adapter, learner.save, party.reopen = no_adapter, save, reopen


@pytest.mark.parametrize("kept", [True, False])
def test_a_learner_without_an_adapter_goes_by_way_of_the_disk(tmp_path: FilePath, kept: bool):
    def tries(candidates: Candidates) -> list[list[bool]]:
        if kept:
            candidates.trials.keep(candidates.trials.study([4], 0.2))
        return twice(candidates)

    party = student(tmp_path, tries, Study(steps=50))
    before = dict(party.learner.answers)
    by_way_of_the_disk(party)
    choose(party)
    assert party.allocator.found == FOUND
    assert party.learner.weights.tolist() == [float(kept)] * 2
    assert dict(party.learner.answers) == before | ({"public 4": right(4)} if kept else {})
    assert list(party.folder.rglob("weights.npy")) == list(party.folder.glob("tmp*")) == []


def test_what_is_on_the_disk_goes_when_nobody_asks_for_it_any_more(tmp_path: FilePath):
    counts: list[int] = []

    def races(candidates: Candidates) -> None:
        copies = [candidates.trials.study([0], 0.1)] * 2
        for _ in range(3):
            copies = [candidates.trials.study([i], 0.1, copy) for i, copy in zip((2, 3), copies, strict=True)]
            counts.append(len(list(party.folder.rglob("weights.npy"))))

    party = student(tmp_path, races)
    by_way_of_the_disk(party)
    choose(party)
    assert counts == [3] * 3  # those it came with, and both copies'


def test_a_trial_has_the_replay_of_the_study(tmp_path: FilePath):
    party = student(tmp_path, lambda c: c.trials.study([0, 2], 0.2), Study(steps=50))
    replay = Replay(private=0.5, paths=0, general=0, least=0)
    learn(party, replay=replay)
    tried, studied = party.learner.studies
    assert [lesson.sample_id.partition("-")[0] for lesson in tried.lessons] == ["p0", "p2", "a", "a"]
    assert studied.lessons[1].sample_id in {lesson.sample_id for lesson in tried.lessons}


def test_paths_without_text_are_no_lessons(tmp_path: FilePath):
    party = student(tmp_path, lambda c: c.trials.examine(c.trials.study([0, 1], 0.2), [2, 1]).tolist(), Study(steps=50))
    choose(party, theirs=["", "", right(2), right(3), right(4)])
    assert party.learner.studies == []
    assert party.allocator.found == [False, True]
    assert party.tried == pytest.approx(0.2)


def test_an_answer_that_is_right_or_the_teachers_passes(tmp_path: FilePath):
    theirs = [right(0), wrong(1, "llm"), "no idea", wrong(3, "llm"), "no idea"]
    say = {"public 0": right(0), "public 1": right(1), "public 2": right(2), "public 3": wrong(3, "llm")}
    for gold, passed in ((True, [True, True, True, True, False]), (False, [True, False, False, True, False])):
        party = student(
            tmp_path / str(gold),
            lambda c, gold=gold: c.trials.examine(c.trials.study([0], 0.2), [0, 1, 2, 3, 4], gold=gold).tolist(),
        )
        party.learner = Forgetful(party.learner.answers | say | {"public 4": "no idea"})
        choose(party, theirs=theirs)
        assert party.allocator.found == passed


def test_hooks_and_the_objectives_state_see_nothing_of_it(tmp_path: FilePath):
    seen: list[str] = []

    class Hook:
        steers = False

        def __getattr__(self, name: str) -> Any:
            seen.append(name)
            raise AssertionError(name)

    party = student(tmp_path, twice)
    party.states["objective/sft/a"] = {"x": np.ones(1)}
    party.steps["objective/sft/a"] = 4
    party.hooks = (("odd", Hook()),)  # type: ignore[assignment]
    choose(party)
    assert seen == []
    assert party.states["objective/sft/a"]["x"].tolist() == [1]
    assert party.steps == {"objective/sft/a": 4}


def test_candidates_made_by_hand_have_no_student_to_try_anything():
    trials = NoTrials()
    for ask in (
        lambda: trials.study([0], 0.1),
        lambda: trials.examine((), [1]),
        lambda: trials.likelihoods((), [1]),
        lambda: trials.keep(()),
    ):
        with pytest.raises(LookupError, match="lack `trials`"):
            ask()


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("tune", [{"tune": "full"}, {"tune": "lora", "lora": {"rank": 2}}])
def test_a_model_has_its_weights_back_or_those_it_keeps(tmp_path: FilePath, tune: dict[str, Any], kept: bool):
    digests: list[str | None] = []

    def tries(candidates: Candidates) -> None:
        trials = candidates.trials
        digests.append(party.learner.digest())
        start = trials.study([0, 1, 2, 3, 4], 0.25)
        digests.append(party.learner.digest())
        copies = []
        for members in ([0, 1], [2, 3], [0, 1]):
            copies.append(trials.study(members, 0.25, start))
            digests.append(party.learner.digest())
        told = [trials.likelihoods(copy, [0, 1]).tolist() for copy in copies]
        assert told[0] == told[2] != told[1]
        assert trials.examine(copies[1], [4]).shape == (1,)
        if kept:
            trials.keep(copies[0])

    opener = LEARNERS.get("hugging_face")
    options = opener.read({"model": "zoo:slm-llama-small", "device": "cpu", "max_new_tokens": 4, **tune})
    party = student(tmp_path, tries, Study(steps=8, batch_size=2))
    party.learner = opener.make(options).open(tmp_path, init_seed=1, saved=None)
    party.reopen = lambda saved: opener.make(options).open(tmp_path, init_seed=1, saved=saved)
    choose(party)
    before, warm, first, second, again = digests
    assert len({before, warm, first, second}) == 4
    assert again == first
    assert party.learner.digest() == (first if kept else before)
    assert party.report.allocations[0].trial_tokens > 0


def config(**changes: Any) -> dict[str, Any]:
    """Return two clients who study by dp."""
    dp = {"steps": 2, "batch_size": 4, "dp": {"noise_multiplier": 1.0}}
    model = {"model": "zoo:slm-llama-small", "tune": "lora"}
    return {
        "name": "private",
        "allocator": "race",
        "task": {"kind": "rulebooks", "public": 40, "private": 8, "test_per_domain": 1, "replay": 4},
        "server": {"model": {"model": "zoo:llm-world-0"}},
        "clients": [
            {"name": "warehouse", "domains": ["warehouse"], "model": model},
            {"name": "clinic", "domains": ["clinic"], "model": model, "private": dp, "distil": dp},
        ],
    } | changes


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, True),
        ({"allocator": {"name": "race", "options": {"laps": 0}}}, False),
        ({"allocator": "lada"}, False),
        ({"host": "fedavg"}, False),  # nobody chooses anything
        ({"host": "standalone"}, False),
    ],
)
def test_dp_beside_trials_is_refused_before_round_1(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], refused: bool
):
    monkeypatch.setattr("lada.privacy.conflicts.check_installed", lambda: None)
    private = config(**changes)
    if not refused:
        make_config(private)
        return
    with pytest.raises(InputError, match=r"^clients\.clinic: allocator 'race' runs trial studies, which dp"):
        make_config(private)


@pytest.mark.slow
def test_a_run_that_is_killed_on_trial_goes_on_to_the_same_bits(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lada.allocators.race.FEWEST", 1)
    monkeypatch.setattr("lada.allocators.race.promising", lambda c, **_: np.ones(len(c.samples), bool))
    options = {"laps": 2, "budget": 6, "warm_up": 0.125, "lap": 0.125}
    made: dict[str, Any] = resumable(rounds=1) | {"allocator": {"name": "race", "options": options}}
    for party in (made["server"], *made["clients"]):  # a lap is a step at least, of half the budget for each teacher
        party["distil"] = {"steps": 16, "batch_size": 4}
    whole = lada.run(made, runs=tmp_path / "whole")
    assert all("chance" in record.diagnostics and record.trial_tokens > 0 for record in whole.allocations)
    study, count = PartyTrials.study, [0]

    def killed(*args: Any, **more: Any) -> Any:
        count[0] += 1
        if count[0] == 4:
            raise Crash
        return study(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(PartyTrials, "study", killed)
        with pytest.raises(Crash):
            lada.run(made, runs=tmp_path / "broken")
    assert outcome(lada.run(made, runs=tmp_path / "broken", resume=True)) == outcome(whole)


@pytest.mark.parametrize(
    ("study", "least", "parts"),
    [
        ({"steps": 50}, 0.02, [10, 40]),
        ({"steps": 12}, 1 / 12, [2, 10]),  # a fifth of twelve steps is two, and two count
        ({"steps": 3}, 1 / 3, [1, 2]),
        ({"tokens": 1000}, 0.0, [200, 800]),
    ],
)
def test_what_counts_of_a_study_on_trial_is_the_steps_that_it_took(
    tmp_path: FilePath, study: dict[str, Any], least: float, parts: list[int]
):
    def tries(candidates: Candidates) -> float:
        candidates.trials.study([0], 0.2)
        return candidates.trials.least

    party = student(tmp_path, tries, Study(**study))
    learn(party)
    (unit,) = study
    assert [getattr(each.options, unit) for each in party.learner.studies] == parts
    assert party.allocator.found == pytest.approx(least)
