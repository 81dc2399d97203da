"""What an objective is given and what it remembers: state, step numbers, own parameters, distributions, depths."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from test_study import STEADY, Spy, lessons, plain_descent, same  # noqa: F401 - a fixture

from lada.core.errors import InputError
from lada.core.needs import Needs, State
from lada.core.registry import Options
from lada.core.terms import Lesson, SparseLogProbs
from lada.models import likelihood
from lada.models.assignment import Assignment
from lada.models.base import Course, Study, StudyReport, check_possible, check_watched
from lada.models.objective import Done, Objective, Scored, Sizes, nll
from lada.models.private import Privacy
from lada.models.trainer import sizes_of
from lada.objectives.sft import Sft


class Counting(Objective):
    """NLL; counts steps and weighs up its batches in its state."""

    def __init__(self, spoil: int = -1) -> None:
        super().__init__()
        self.needs = Needs(observes=True)
        self.seen: list[Scored] = []
        self.done: list[Done] = []
        self._spoil = spoil

    def init(self, seed: int, sizes: Sizes | None = None) -> State:
        assert sizes is not None
        return {"steps": np.array(0), "mass": np.zeros(2), "start": np.array([seed, sizes.width, sizes.vocabulary])}

    def __call__(self, scored: Scored) -> torch.Tensor:
        self.seen.append(scored)
        scored.observe("mass", torch.stack([scored.mask.sum().double(), scored.log_probs.detach().double().sum()]))
        return nll(scored) * (math.nan if scored.step == self._spoil else 1.0)

    def after_step(self, state: State, done: Done) -> State:
        self.done.append(done)
        return {**state, "steps": state["steps"] + 1, "mass": state["mass"] + done.observed["mass"]}


def study(
    learner: Any, objective: Objective, course: Course | None = None, rows: Any = None, **more: Any
) -> StudyReport:
    settings = Study(**{"steps": 4, "batch_size": 8, "optimisation": STEADY, **more})
    return learner.study(rows, objective, settings, seed=3, course=course or Course())


def test_a_state_goes_from_step_to_step_and_from_study_to_study(tiny: Any):
    learner, objective, rows = tiny.learner(), Counting(), lessons(tiny)
    first = study(learner, objective, Course(seed=9, rounds_left=3), rows)
    size = len(learner.tokenizer)
    assert first.state["start"].tolist() == [9, 16, size]
    assert int(first.state["steps"]) == 4
    assert [(each.step, each.steps, each.run_step, each.run_steps) for each in objective.seen] == [
        (step, 4, step, 12) for step in range(4)
    ]
    assert [int(each.state["steps"]) for each in objective.seen] == [0, 1, 2, 3]
    again = study(learner, objective, Course(first.state, 1, 4, 2), rows, steps=2)
    assert [(done.step, done.steps, done.run_step, done.run_steps) for done in objective.done[4:]] == [
        (0, 2, 4, 8),
        (1, 2, 5, 8),
    ]
    assert int(again.state["steps"]) == 6
    assert again.state["start"].tolist() == [9, 16, size]
    masses = [done.observed["mass"] for done in objective.done]
    assert first.tokens == sum(tokens for tokens, _ in masses[:4])
    assert [done.loss for done in objective.done] == pytest.approx([-total / tokens for tokens, total in masses])


@pytest.mark.usefixtures("plain_descent")
def test_what_is_observed_is_of_the_whole_batch_however_it_is_cut(tiny: Any):
    masses = [
        study(tiny.learner(), Counting(), rows=lessons(tiny), micro_batch_size=size).state["mass"]
        for size in (None, 3, 1)
    ]
    for mass in masses:
        assert mass == pytest.approx(masses[0], rel=1e-5)
    assert masses[0].dtype == np.float64


def test_an_attempt_that_ran_out_of_memory_is_not_counted_twice(tiny: Any):
    failed: list[int] = []

    class Greedy(Counting):
        def __call__(self, scored: Scored) -> torch.Tensor:
            loss = super().__call__(scored)
            if len(scored.mask) == 4 and not failed:
                failed.append(1)
                raise torch.OutOfMemoryError
            return loss

    report = study(tiny.learner(), Greedy(), rows=lessons(tiny), steps=1, micro_batch_size=4)
    assert failed
    assert report.state["mass"][0] == report.tokens


def test_a_step_that_is_not_taken_changes_no_state(tiny: Any):
    objective = Counting(spoil=1)
    report = study(tiny.learner(), objective, rows=lessons(tiny))
    assert (report.skipped, int(report.state["steps"])) == (1, 3)
    assert [done.step for done in objective.done] == [0, 2, 3]


def test_what_was_not_asked_for_cannot_be_used(tiny: Any):
    uses: tuple[Any, ...] = (
        lambda scored: scored.over_vocabulary(torch.sum),
        lambda scored: scored.read_out(scored.mask, scored.mask),
        lambda scored: scored.observe("a", scored.weights),
    )
    for use in uses:
        with pytest.raises(InputError, match=r"for objectives that declare Needs\.(dense|read_out|observes)"):
            study(tiny.learner(), Spy(loss=use), rows=lessons(tiny))


def test_a_trained_array_that_the_state_lacks_names_its_objective(tiny: Any):
    objective = Spy()
    objective.trained = ("absent",)
    with pytest.raises(InputError, match="objective 'Spy': it failed with KeyError: 'absent'"):
        study(tiny.learner(), objective, rows=lessons(tiny))


def test_a_loss_that_is_no_scalar_names_its_objective(tiny: Any):
    faulty: list[Any] = [lambda scored: scored.log_probs, lambda scored: 1.0, lambda scored: None]
    for loss in faulty:
        with pytest.raises(InputError, match="objective 'Spy': its loss is not a scalar tensor"):
            study(tiny.learner(), Spy(loss=loss), rows=lessons(tiny))


class Scaled(Objective):
    """NLL scaled by a parameter of its own, which is drawn to 1."""

    trained = ("scale",)

    def init(self, seed: int, sizes: Sizes | None = None) -> State:
        return {"scale": np.array([3.0], np.float32), "other": np.array(7)}

    def __call__(self, scored: Scored) -> torch.Tensor:
        scale = scored.parameters["scale"]
        return nll(scored) + (scale - 1).square().sum() * len(scored.mask) / 8


@pytest.mark.usefixtures("plain_descent")
@pytest.mark.parametrize("micro", [None, 3])
def test_parameters_of_its_own_are_trained_beside_the_model_and_remembered(tiny: Any, micro: int | None):
    learner, plain, rows = tiny.learner(), tiny.learner(), lessons(tiny)
    first = study(learner, Scaled(), rows=rows, micro_batch_size=micro)
    study(plain, Spy(), rows=rows, micro_batch_size=micro)
    assert first.state["scale"] == pytest.approx([1 + 2 * 0.8**4])  # each step at rate 0.1 takes a fifth of the gap
    assert int(first.state["other"]) == 7
    assert same(tiny.weights(learner), tiny.weights(plain))  # the gradient is not clipped here
    again = study(learner, Scaled(), Course(first.state), rows, micro_batch_size=micro)
    assert again.state["scale"] == pytest.approx([1 + 2 * 0.8**8])
    assert all("scale" not in name for name in tiny.weights(learner))


@pytest.mark.usefixtures("plain_descent")
def test_parameters_of_its_own_count_in_the_norm_that_is_clipped(tiny: Any):
    clipped = STEADY.model_copy(update={"clip": 1e-3})
    state = study(tiny.learner(), Scaled(), rows=lessons(tiny), steps=1, optimisation=clipped).state
    assert 0 < 3 - state["scale"][0] <= 1e-4 + 1e-6  # rate times clip


def dense(learner: Any, row: Lesson) -> torch.Tensor:
    """Return the log-probs of a lesson's tokens [L, vocabulary] and leave out what needs no gradient."""
    encoded = learner.encoder.pair(row.question, row.chosen)
    ids = torch.tensor([encoded.prompt + encoded.completion])
    return learner.model(input_ids=ids).logits[0, len(encoded.prompt) - 1 : -1].log_softmax(1)


@pytest.mark.parametrize("chunk", [1, 2**20])
def test_measures_of_whole_distributions_and_their_gradients(
    tiny: Any, architecture: str, chunk: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(likelihood, "CHUNK", chunk)
    rows, by_hand = lessons(tiny), tiny.learner(architecture)

    def entropy(log_probs: torch.Tensor) -> torch.Tensor:
        return -(log_probs.exp() * log_probs).sum(1)

    seen: list[float] = []

    def loss(scored: Scored) -> torch.Tensor:
        found = scored.over_vocabulary(entropy)
        assert found.shape == scored.mask.shape
        assert not found[~scored.mask].any()
        seen.append(found.sum().item())
        return nll(scored) - 0.1 * found.sum()

    learner = tiny.learner(architecture)
    monkeypatch.setattr(
        "lada.models.trainer.make_optimizer", lambda model, _: torch.optim.SGD(model.parameters(), lr=0.1)
    )
    study(learner, Spy(loss=loss, dense=True, rejected=True), rows=rows, steps=1)
    scores = [dense(by_hand, row) for row in rows]
    ids = [torch.tensor(by_hand.encoder.pair(row.question, row.chosen).completion) for row in rows]
    own = torch.cat([each.gather(1, its[:, None])[:, 0] for each, its in zip(scores, ids, strict=True)])
    total = torch.cat([entropy(each) for each in scores]).sum()
    assert sum(seen) == pytest.approx(total.item(), rel=1e-4)
    (-own.mean() - 0.1 * total).backward()
    for found, start in zip(learner.model.parameters(), by_hand.model.parameters(), strict=True):
        assert start.grad is not None
        assert torch.allclose(found, start - 0.1 * start.grad, rtol=0, atol=1e-4)


def test_hidden_states_by_depth_are_those_that_predict_each_token(tiny: Any, architecture: str):
    learner, rows = tiny.learner(architecture), lessons(tiny)
    spy = Spy(exits=(0.1, 0.5, 1.0), rejected=True)
    with torch.no_grad():
        expected = {}
        for row in rows:
            encoded = learner.encoder.pair(row.question, row.chosen)
            ids = torch.tensor([encoded.prompt + encoded.completion])
            states = learner.model(input_ids=ids, output_hidden_states=True).hidden_states
            part = slice(len(encoded.prompt) - 1, -1)
            expected[len(encoded.completion), row.weight] = [states[layer][0, part] for layer in (1, 1, 2)]
    study(learner, spy, rows=rows, steps=1)
    (scored,) = spy.seen
    assert set(scored.hidden) == {0.1, 0.5, 1.0}
    assert all(hidden.shape == (*scored.mask.shape, 16) for hidden in scored.hidden.values())
    found = 0
    for place, length in enumerate(scored.mask.sum(1).tolist()):
        states = expected[length, 1.0]
        pairs = [
            torch.allclose(scored.hidden[d][place, :length], s, atol=1e-4)
            for d, s in zip((0.1, 0.5, 1.0), states, strict=True)
        ]
        found += all(pairs)
        assert not any(scored.hidden[depth][place, length:].any() for depth in scored.hidden)
    assert found >= len(set(expected))  # lessons of equal length share a key, and the last of them is kept


def taught(learner: Any, rows: list[Lesson]) -> list[Lesson]:
    """Return lessons with two tokens named at each position, except at the first of each text."""
    result = []
    for row in rows:
        completion = learner.encoder.pair(row.question, row.chosen).completion
        ids = np.sort(np.array([[token, (token + 5) % 50] for token in completion], np.int32), axis=1)
        log_probs = np.full(ids.shape, -1.0, np.float32)
        log_probs[0] = -np.inf
        result.append(Lesson(row.sample_id, row.question, row.chosen, soft=SparseLogProbs(ids, log_probs)))
    return result


@pytest.mark.parametrize("chunk", [1, 2**20])
def test_the_last_hidden_states_are_read_out_as_the_learner_itself_does(
    tiny: Any, architecture: str, chunk: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(likelihood, "CHUNK", chunk)
    learner, gradients = tiny.learner(architecture), []

    def loss(scored: Scored) -> torch.Tensor:
        soft, states = scored.soft, scored.hidden[1.0]
        assert soft is not None
        assert set(soft.columns.tolist()) == set(range(1, scored.mask.shape[1]))
        found = scored.read_out(states[soft.rows, soft.columns], soft.ids)
        assert torch.allclose(found, soft.student, atol=1e-5)
        head = learner.model.get_output_embeddings()
        slow = head(states)[soft.rows, soft.columns].log_softmax(1).gather(1, soft.ids)
        draw = torch.randn(found.shape, generator=torch.Generator().manual_seed(0))
        for each in (found, slow):
            gradients.append(torch.autograd.grad((draw * each).sum(), (states, head.weight), retain_graph=True))
        own = (soft.ids == soft.gold[:, None]).long().argmax(1)  # type: ignore[index]
        assert torch.equal(scored.log_probs[soft.rows, soft.columns], soft.student.gather(1, own[:, None])[:, 0])
        assert scored.read_out(states[:0, 0], soft.ids[:0]).shape == (0, 2)
        return nll(scored)

    rows = taught(learner, lessons(tiny))
    study(learner, Spy(loss=loss, exits=(1.0,), read_out=True, gold=True), rows=rows, steps=1)
    for mine, slow in zip(*gradients, strict=True):
        assert mine.abs().max() > 1e-3
        assert torch.allclose(mine, slow, atol=1e-5)


def test_a_model_without_an_output_head_cannot_read_out(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    learner = tiny.learner()
    monkeypatch.setattr(learner.model, "get_output_embeddings", lambda: None)
    assert sizes_of(learner.model).head == 0
    with pytest.raises(InputError, match=r"reads hidden states by the model's output head, but .* none; expected"):
        study(learner, Spy(exits=(1.0,), read_out=True), rows=lessons(tiny))


def test_sizes_are_those_of_states_vocabulary_and_head(tiny: Any):
    learner = tiny.learner()
    assert sizes_of(learner.model) == Sizes(16, len(learner.tokenizer), head=16)


def test_the_texts_own_tokens_and_the_ids_of_the_categories(tiny: Any):
    learner, row = tiny.learner(), lessons(tiny)[0]
    completion = learner.encoder.pair(row.question, row.chosen).completion
    ids = np.sort(np.array([[token, (token + 5) % 50] for token in completion], np.int32), axis=1)
    soft = SparseLogProbs(ids, np.full(ids.shape, -1.0, np.float32))
    spy = Spy(gold=True)
    study(learner, spy, rows=[Lesson("a", row.question, row.chosen, soft=soft)], steps=1, batch_size=1)
    (scored,) = spy.seen
    assert scored.gold is not None
    assert scored.gold[0].tolist() == list(completion)
    assert scored.soft is not None
    assert scored.soft.ids.tolist() == ids.tolist()
    assert scored.soft.gold is not None
    assert scored.soft.gold.tolist() == list(completion)
    plain = Spy()
    study(learner, plain, rows=[Lesson("a", row.question, row.chosen, soft=soft)], steps=1, batch_size=1)
    assert plain.seen[0].gold is plain.seen[0].soft.gold is None  # type: ignore[union-attr]


def test_a_batch_whose_lessons_are_coupled_is_never_split(tiny: Any):
    learner, spy = tiny.learner(), Spy(couples_batch=True)
    study(learner, spy, rows=lessons(tiny), micro_batch_size=2)
    assert [len(scored.mask) for scored in spy.seen] == [8] * 4
    assert "micro_batch_size, 2, has no effect: the objective couples the lessons of a batch" in learner.take_notices()


def test_lessons_that_are_held_out_are_never_trained_and_all_are_seen(tiny: Any):
    rows = [Lesson(f"s-{i}", tiny.questions[0], "7 " * (i + 1)) for i in range(8)]  # told apart by their lengths
    whole = []
    for micro in (None, 1):
        learner, spy = tiny.learner(), Spy(held_out=0.25)
        report = study(learner, spy, rows=rows, steps=3, batch_size=6, micro_batch_size=micro)
        trained = {length for scored in spy.seen for length in scored.mask.sum(1).tolist()}
        helds = [scored.held_out for scored in spy.seen if scored.held_out is not None]
        held = {length for scored in helds for length in scored.mask.sum(1).tolist()}
        assert (len(trained), len(held)) == (6, 2)
        assert not trained & held
        assert sum(len(scored.mask) for scored in helds) == 3 * 2
        assert {scored.batch_tokens for scored in helds} == {float(sum(held))}
        assert report.tokens == 3 * sum(trained)
        assert "2 lessons of 8 held out by the objective" in learner.take_notices()
        whole.append((trained, held))
    assert whole[0] == whole[1]


def test_of_a_single_lesson_nothing_is_held_out(tiny: Any):
    learner, spy = tiny.learner(), Spy(held_out=0.9)
    study(learner, spy, rows=lessons(tiny)[:1], steps=1)
    assert spy.seen[0].held_out is None
    assert "0 lessons of 1 held out by the objective" in learner.take_notices()


DP = Study(steps=2, dp=Privacy(noise_multiplier=1.0))


@pytest.mark.parametrize(
    ("needs", "study", "processes", "message"),
    [
        (Needs(couples_batch=True), DP, 1, r"objective 'x' couples the lessons of a batch, but dp clips"),
        (Needs(observes=True), DP, 1, r"'x' accumulates figures over its batches, but dp clips .* a study without dp"),
        (Needs(held_out=0.5), DP, 1, r"'x' uses held-out lessons, but dp clips"),
        (Needs(couples_batch=True), Study(), 2, r"'x' couples .* model.parallel divides these among 2 processes"),
        (Needs(observes=True), Study(), 3, r"'x' accumulates figures .* among 3 processes; .* without parallel"),
    ],
)
def test_what_dp_and_parallel_cannot_give_is_refused_by_name(needs: Needs, study: Study, processes: int, message: str):
    with pytest.raises(InputError, match=message):
        check_possible("x", needs, study, processes)


def test_all_else_is_possible():
    check_possible("x", Needs(couples_batch=True, observes=True, held_out=0.5), Study(), 1)
    check_possible("x", Needs(held_out=0.5, exits=(0.5,), dense=True), Study(), 2)
    check_possible("x", Needs(exits=(0.5,), dense=True, gold=True), DP, 2)


def test_a_learner_refuses_before_it_begins(tiny: Any):
    learner = tiny.learner()
    with pytest.raises(InputError, match="objective 'Spy' couples"):
        learner.study(lessons(tiny), Spy(couples_batch=True), DP, seed=0)
    learner.replicas = SimpleNamespace(size=2)
    with pytest.raises(InputError, match="objective 'Spy' accumulates figures"):
        learner.study(lessons(tiny), Spy(observes=True), Study(), seed=0)


def test_an_assignment_carries_what_the_objective_remembers():
    state = {"a": np.array(3), "b.c": np.arange(6.0).reshape(2, 3).T}
    for course in (Course(), Course({}, 5, 6, 7), Course(state, 2**62, 40, 3)):
        read = Assignment.read(Assignment([], Sft(Options()), Study(), 0, course).to_bytes()).course
        assert (read.seed, read.run_step, read.rounds_left) == (course.seed, course.run_step, course.rounds_left)
        assert (read.state is None) == (course.state is None)
        for name, array in (course.state or {}).items():
            assert read.state is not None
            assert read.state[name].shape == array.shape
            assert np.array_equal(read.state[name], array)


def test_a_stateful_study_is_the_same_to_the_bit_from_a_state_that_was_saved(tiny: Any):
    after = []
    for split in (False, True):
        learner, objective = tiny.learner(), Scaled()
        report = study(learner, objective, rows=lessons(tiny))
        state = dict(report.state)
        if split:
            data = Assignment([], Sft(Options()), Study(), 0, Course(state)).to_bytes()
            state = Assignment.read(data).course.state
        report = study(learner, objective, Course(state, 0, 4), lessons(tiny))
        after.append((tiny.weights(learner), report.state["scale"]))
    assert same(after[0][0], after[1][0])
    assert np.array_equal(after[0][1], after[1][1])


@pytest.mark.usefixtures("plain_descent")
@pytest.mark.parametrize("micro", [None, 3])
def test_a_watched_study_tells_each_lessons_loss_before_each_step(tiny: Any, micro: int | None):
    rows, learner, quiet = lessons(tiny), tiny.learner(), tiny.learner()
    judged = [-each.mean for each in learner.judge([(row.question, row.chosen) for row in rows])]
    report = study(learner, Spy(rejected=True), Course(watch=True), rows, steps=2, micro_batch_size=micro)
    assert report.losses["steps"].tolist() == [0] * 8 + [1] * 8
    assert sorted(report.losses["lessons"].tolist()) == sorted([*range(8), *range(8)])
    before, after = np.split(report.losses["losses"], 2)
    expected, then = np.split(np.array(judged)[report.losses["lessons"]], 2)
    assert before == pytest.approx(expected, rel=1e-4)
    assert not np.allclose(after, then, rtol=1e-3)
    # Watching changes nothing, and who does not ask is not told.
    unwatched = study(quiet, Spy(rejected=True), rows=rows, steps=2, micro_batch_size=micro)
    assert unwatched.losses == {}
    assert unwatched.figures() == report.figures()
    assert same(tiny.weights(learner), tiny.weights(quiet))


def test_a_step_that_is_not_taken_or_was_tried_in_vain_tells_no_loss(tiny: Any):
    report = study(tiny.learner(), Counting(spoil=1), Course(watch=True), lessons(tiny), batch_size=4)
    assert report.losses["steps"].tolist() == [0] * 4 + [2] * 4 + [3] * 4
    failed: list[int] = []

    def greedy(scored: Scored) -> torch.Tensor:
        if len(scored.mask) == 4 and not failed:
            failed.append(1)
            raise torch.OutOfMemoryError
        return nll(scored)

    once = study(tiny.learner(), Spy(loss=greedy), Course(watch=True), lessons(tiny), steps=1, micro_batch_size=4)
    assert failed
    assert once.losses["lessons"].tolist() == list(range(8))


def test_a_private_study_tells_no_loss_of_a_lesson(tiny: Any):
    assert tiny.learner().study(lessons(tiny), Spy(), DP, seed=0, course=Course(watch=True)).losses == {}


def test_an_allocator_that_reads_losses_is_refused_where_there_are_none():
    check_watched("x", Study(), 1)
    for settings, processes, message in (
        (DP, 1, r"allocator 'x' reads the losses .* which dp does not reveal; .* or a study without dp"),
        (Study(), 3, r"'x' .* which model.parallel divides among 3 processes; .* or a model without parallel"),
    ):
        with pytest.raises(InputError, match=message):
            check_watched("x", settings, processes)
