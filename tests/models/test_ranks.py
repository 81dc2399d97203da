"""Several ranks study as one process does: the same batches, the same gradient, the same weights in all."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_study import STEADY, Spy, contrast, lessons, plain_descent  # noqa: F401 - a fixture

from lada.core.errors import InputError
from lada.core.registry import Options
from lada.core.terms import Alternative, ChunkLogProbs, Lesson, SparseLogProbs
from lada.models import ranks as ranks_module
from lada.models.assignment import Assignment
from lada.models.base import Study
from lada.models.options import LoraOptions, ModelOptions, Parallel
from lada.models.placement import check_placement
from lada.models.ranks import ALONE, Group, Ranks
from lada.objectives.contrastive import Contrastive, ContrastiveOptions
from lada.objectives.sft import Sft

T = TypeVar("T")
CPU = torch.device("cpu")
WEIGHTS = (1.0, 2.0, 0.5, 1.0, 3.0, 0.1, 1.0, 0.2)


def nothing() -> None:
    """Watch nobody."""


def together(size: int, folder: Path, work: Callable[[Group], T], timeout: float = 60.0) -> list[T]:
    """Return what each rank's work gives; ranks are threads of this process."""
    with ThreadPoolExecutor(size) as pool:
        futures = [
            pool.submit(lambda rank=rank: work(Group(rank, size, CPU, folder / "store", timeout, nothing)))
            for rank in range(size)
        ]
        return [future.result() for future in futures]


def test_one_by_itself_exchanges_nothing():
    assert (ALONE.rank, ALONE.size, ALONE.share([3, 1, 2])) == (0, 1, [3, 1, 2])
    weight = torch.nn.Parameter(torch.ones(2))
    weight.grad = torch.tensor([1.0, 2.0])
    assert ALONE.add_gradients([weight], 0.1) == 0.1
    assert weight.grad.tolist() == [1.0, 2.0]


@given(st.lists(st.integers()), st.integers(2, 5))
def test_shares_are_a_partition(rows: list[int], size: int):
    shares = []
    for rank in range(size):
        ranks = Ranks()
        ranks.rank, ranks.size = rank, size
        shares.append(ranks.share(rows))
    assert sorted(row for share in shares for row in share) == sorted(rows)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("bucket", [1, 3, 2**24])
def test_gradients_are_added_up_and_not_averaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bucket: int):
    monkeypatch.setattr(ranks_module, "BUCKET", bucket)

    def work(group: Group) -> tuple[float, list[Any]]:
        weights = [torch.nn.Parameter(torch.zeros(shape)) for shape in ((2,), (1, 3), (1,), ())]
        weights[0].grad = torch.tensor([1.0, 2.0]) * (group.rank + 1)
        if group.rank == 2:  # the others have no row that reaches it, as with experts
            weights[1].grad = torch.tensor([[1.0, -1.0, 0.5]])
        weights[3].grad = torch.tensor(0.25)
        loss = group.add_gradients(weights, 0.5 * group.rank)
        return loss, [weight.grad if weight.grad is None else weight.grad.tolist() for weight in weights]

    expected = (1.5, [[6.0, 12.0], [[1.0, -1.0, 0.5]], None, 0.75])
    assert together(3, tmp_path, work) == [expected] * 3


def test_all_have_the_weights_of_the_first(tmp_path: Path):
    def work(group: Group) -> list[float]:
        weights = [torch.full((2, 3), float(group.rank)).T, torch.full((2,), 10.0 + group.rank)]
        group.agree(weights)
        return [float(each) for weight in weights for each in weight.reshape(-1)]

    assert together(2, tmp_path, work) == [[0.0] * 6 + [10.0] * 2] * 2


@pytest.mark.usefixtures("plain_descent")
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("objective", [{}, {"rejected": True, "reference": True, "loss": contrast}])
@pytest.mark.parametrize(("batch", "micro"), [(8, None), (7, 2), (5, 1), (1, None)])
def test_a_study_is_that_of_one(
    tiny: Any, tmp_path: Path, size: int, objective: dict[str, Any], batch: int, micro: int | None
):
    rows = lessons(tiny, WEIGHTS)
    options = Study(steps=4, batch_size=batch, micro_batch_size=micro, optimisation=STEADY)
    one = tiny.learner()
    report = one.study(rows, Spy(**objective), options, seed=3)
    learners = [tiny.learner() for _ in range(size)]
    for other in learners[1:]:  # what they have before is of no importance
        for weight in other.model.parameters():
            weight.data.add_(1.0)

    def work(group: Group) -> Any:
        learner = learners[group.rank]
        return learner.study_among(group, rows, Spy(**objective), options, seed=3), tiny.weights(learner)

    found = together(size, tmp_path, work)
    for told, weights in found:
        assert (told.steps, told.tokens, told.pairs) == (report.steps, report.tokens, report.pairs)
        assert told.first_loss == pytest.approx(report.first_loss, abs=1e-5)
        assert told.last_loss == pytest.approx(report.last_loss, abs=1e-5)
        for name, expected in tiny.weights(one).items():
            assert torch.allclose(weights[name], expected, rtol=0, atol=1e-5), name
            assert torch.equal(weights[name], found[0][1][name]), name  # the same bits in all


@pytest.mark.usefixtures("plain_descent")
def test_masters_take_the_sum(tiny: Any, tmp_path: Path):
    rows = lessons(tiny, WEIGHTS)
    options = Study(steps=3, batch_size=6, optimisation=STEADY)
    one, *learners = (tiny.learner() for _ in range(3))
    for learner in (one, *learners):
        learner.model = learner.model.to(torch.bfloat16)
    one.study(rows, Spy(), options, seed=3)
    together(2, tmp_path, lambda group: learners[group.rank].study_among(group, rows, Spy(), options, seed=3))
    for a, b, c in zip(*(learner.model.parameters() for learner in (one, *learners)), strict=True):
        assert a.dtype == b.dtype == torch.float32
        assert torch.allclose(a, b, rtol=0, atol=2e-2)  # rows that share a pass round otherwise in bfloat16
        assert torch.equal(b, c)


def test_a_step_that_is_not_finite_is_skipped_by_all(tiny: Any, tmp_path: Path):
    rows = lessons(tiny)
    options = Study(steps=2, batch_size=8)
    learners = [tiny.learner() for _ in range(2)]

    def work(group: Group) -> Any:
        spoilt = Spy(loss=lambda scored: scored.log_probs.sum() * (torch.inf if group.rank else 1.0))
        learner = learners[group.rank]
        return learner.study_among(group, rows, spoilt, options, seed=3).skipped, tiny.weights(learner)

    start = tiny.weights(tiny.learner())
    for skipped, weights in together(2, tmp_path, work):
        assert skipped == 2
        assert all(torch.equal(weights[name], start[name]) for name in start)


def test_one_that_stays_silent_is_not_waited_for_for_ever(tmp_path: Path):
    gone = threading.Event()

    def work(group: Group) -> None:
        if group.rank:
            gone.wait(30)
            return
        try:
            with pytest.raises((TimeoutError, RuntimeError)):
                group.add_up(torch.ones(1))
        finally:
            gone.set()

    together(2, tmp_path, work, timeout=0.5)


def test_what_watches_the_others_may_stop_the_waiting(tmp_path: Path):
    done = threading.Event()

    class Gone(Exception):
        pass

    def watch() -> None:
        raise Gone

    def work(rank: int) -> None:
        group = Group(rank, 2, CPU, tmp_path / "store", 60.0, watch)
        if rank:
            done.wait(30)
        else:
            with pytest.raises(Gone):
                group.add_up(torch.ones(1))
            done.set()

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(work, rank) for rank in range(2)]:
            future.result()


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)


@st.composite
def made(draw: Any) -> Lesson:
    n, k, c = draw(st.integers(0, 3)), draw(st.integers(1, 3)), draw(st.integers(0, 2))
    soft = SparseLogProbs(np.arange(n * k, dtype=np.int32).reshape(n, k), np.full((n, k), -np.inf, np.float32))
    chunks = ChunkLogProbs(np.zeros((c, 2), np.int32), np.full(c, -0.1, np.float32))
    return Lesson(
        draw(TEXT),
        draw(TEXT),
        draw(TEXT),
        draw(st.none() | TEXT),
        draw(st.floats(0, 1e9)),
        draw(st.sampled_from([None, soft])),
        draw(st.sampled_from([None, chunks])),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.integers(0, 99)),
        draw(st.integers(0, 99)),
        draw(st.none() | st.floats(-99, 0)),
        draw(st.none() | st.floats(-99, 0)),
        draw(st.booleans()),
        tuple(draw(st.lists(st.builds(Alternative, TEXT, st.floats(-99, 0)), max_size=2))),
    )


@given(st.lists(made(), max_size=4))
def test_an_assignment_comes_through_as_it_was(rows: list[Lesson]):
    objective, study = Contrastive(ContrastiveOptions(form="dpo", reference=True)), Study(steps=7, optimisation=STEADY)
    read = Assignment.read(Assignment(rows, objective, study, 2**63).to_bytes())
    assert (read.study, read.seed, read.objective.needs.reference) == (study, 2**63, True)
    assert type(read.objective).__name__ == "Contrastive"
    for found, row in zip(read.lessons, rows, strict=True):
        for name in {field.name for field in fields(Lesson)} - {"soft", "chunks"}:
            assert getattr(found, name) == getattr(row, name)
        for name, parts in (("soft", ("ids", "log_probs")), ("chunks", ("tokens", "log_probs"))):
            a, b = getattr(found, name), getattr(row, name)
            assert (a is None) == (b is None)
            for part in parts if b is not None else ():
                assert getattr(a, part).dtype == getattr(b, part).dtype
                assert np.array_equal(getattr(a, part), getattr(b, part))


def test_an_objective_that_nobody_else_could_build_is_refused():
    with pytest.raises(InputError, match="the objective 'Spy' has no attribute `options`"):
        Assignment([], Spy(), Study(), 0).to_bytes()
    read = Assignment.read(Assignment([], Sft(Options()), Study(), 0).to_bytes()).objective
    assert type(read).__name__ == "Sft"


def options(**more: Any) -> ModelOptions:
    return ModelOptions(model="tiny", parallel=Parallel(processes=2), **more)


def test_a_copy_on_each_device_is_not_one_copy_on_all():
    with pytest.raises(ValueError, match="device_map is 'auto' with parallel"):
        options(device_map="auto")
    with pytest.raises(ValueError, match="greater than or equal to 2"):
        Parallel(processes=1)


def test_what_this_machine_lacks_is_said_before_anything_runs(monkeypatch: pytest.MonkeyPatch):
    check_placement(options(device="cpu"))
    monkeypatch.setattr(torch.distributed, "is_gloo_available", lambda: False)
    with pytest.raises(InputError, match=r"parallel.processes: 2 needs PyTorch with gloo"):
        check_placement(options(device="cpu"))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(InputError, match="a mps device cannot be shared so"):
        check_placement(options(device="mps"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match=r"2, but PyTorch finds 1 CUDA device on .*expected a model without parallel"):
        check_placement(options(device="cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: False)
    with pytest.raises(InputError, match="needs PyTorch with NCCL"):
        check_placement(options(device="cuda", tune="lora", lora=LoraOptions(rank=2)))
