"""Memory that runs out: nothing is lost, and what comes out is what would have come out of enough memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lada.core.errors import InputError
from lada.core.terms import Lesson
from lada.models.base import Study
from lada.models.halving import Halving, is_out_of_memory, within_memory
from lada.models.objective import Objective, Scored, nll
from lada.models.training import Optimisation
from lada.rounds.party import Party
from lada.rounds.reports import collect, report_payload
from lada.rounds.steps import sft

CPU = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"
Raise = Callable[[], BaseException]


def spent() -> BaseException:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has …")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (spent(), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"), True),
        (RuntimeError(CPU), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), True),
        (MemoryError(), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: BaseException, expected: bool):
    assert is_out_of_memory(error) is expected


class Narrow:
    """Work on at most `room` rows, which notes what it was asked for."""

    def __init__(self, room: int, error: Raise = spent) -> None:
        self.room, self.error = room, error
        self.asked: list[int] = []

    def __call__(self, batch: list[int]) -> list[int]:
        self.asked.append(len(batch))
        if len(batch) > self.room:
            raise self.error()
        return [10 * i for i in batch]


def test_halves_by_hand():
    halving, work = Halving(), Narrow(3)
    found = list(halving.each("judge", [[1, 2, 3, 4, 5, 6, 7], [8, 9], [10, 11, 12, 13]], work))
    # 7 fails, and so does not half of it; then three at most, without another try.
    assert work.asked == [7, 3, 3, 1, 2, 3, 1]
    assert found == [
        ([1, 2, 3], [10, 20, 30]),
        ([4, 5, 6], [40, 50, 60]),
        ([7], [70]),
        ([8, 9], [80, 90]),
        ([10, 11, 12], [100, 110, 120]),
        ([13], [130]),
    ]


def test_it_is_said_once_with_what_was_found_in_the_end():
    halving = Halving()
    list(halving.each("judge", [list(range(16))] * 2, Narrow(3)))
    list(halving.each("embed", [[1, 2]], Narrow(2)))
    (notice,) = halving.take_notices()
    assert notice.startswith("out of memory in 'judge' with 16 samples at once; it continued with 2: ")
    assert "model.batch_size: 2" in notice
    assert halving.take_notices() == ()
    list(halving.each("judge", [[1, 2, 3]], Narrow(3)))
    assert halving.take_notices() == ()


def test_each_kind_of_work_has_its_own_size():
    halving, other = Halving(), Narrow(8)
    list(halving.each("study", [[1, 2, 3, 4]], Narrow(1)))
    list(halving.each("judge", [[1, 2, 3, 4]], other))
    assert other.asked == [4]
    assert "micro_batch_size: 1" in halving.take_notices()[0]


def test_not_even_one():
    with pytest.raises(InputError, match=r"model.batch_size: out of memory in 'judge' even with one .*max_new_tokens"):
        list(Halving().each("judge", [[1, 2]], Narrow(0)))
    with pytest.raises(InputError, match=r"^micro_batch_size: .*Tried to allocate.*gradient_checkpointing: true"):
        Halving().fit("study", 1, lambda size: Narrow(0)([1]))


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shapes"):
        list(Halving().each("judge", [[1, 2]], Narrow(0, lambda: RuntimeError("shapes"))))
    with pytest.raises(RuntimeError, match="shapes"), within_memory("model"):
        raise RuntimeError("shapes")


def test_what_cannot_be_halved():
    told = r"^model: 'x' does not fit into memory .*CUDA out of memory.*; use a smaller"
    with pytest.raises(InputError, match=told), within_memory("model: 'x'"):
        raise spent()


def cramped(tiny: Any, architecture: str, room: int, *, backwards: bool = False) -> Any:
    """Return a learner whose model has room for `room` rows at once, forwards or backwards."""
    learner = tiny.learner(architecture)
    model = learner.model
    forward = model.forward

    def limited(input_ids: torch.Tensor, **options: Any) -> Any:
        if len(input_ids) > room and not backwards:
            raise spent()
        out = forward(input_ids=input_ids, **options)
        if len(input_ids) > room and out.logits.requires_grad:
            # The first layer is the last one on the way back: other weights have their gradients by then.
            def full(_: torch.Tensor) -> None:
                handle.remove()
                raise spent()

            handle = next(iter(model.parameters())).register_hook(full)
        return out

    model.forward = limited
    return learner


def test_verbs_say_the_same_in_less_memory(tiny: Any, architecture: str):
    plain, short = tiny.learner(architecture), cramped(tiny, architecture, 2)
    questions = [*tiny.questions, "which day ?"]
    pairs = list(zip(questions, [*tiny.paths, "answer monday"], strict=True))
    assert [a.text for a in short.answer(questions, seed=0)] == [a.text for a in plain.answer(questions, seed=0)]
    for found, expected in zip(short.judge(pairs), plain.judge(pairs), strict=True):
        assert found.tokens == expected.tokens
        assert (found.total, found.minimum) == pytest.approx((expected.total, expected.minimum), abs=1e-4)
    for found, expected in zip(short.log_probs(pairs, 5), plain.log_probs(pairs, 5), strict=True):
        assert np.array_equal(found.tokens, expected.tokens)
        assert found.top.log_probs == pytest.approx(expected.top.log_probs, abs=1e-4)
    assert short.embed(questions) == pytest.approx(plain.embed(questions), abs=1e-5)
    *notices, cut = short.take_notices()
    assert [notice.split("'")[1] for notice in notices] == ["answer", "embed", "judge", "log_probs"]
    assert plain.take_notices() == (cut,)  # what is random hardly ends


class Nll(Objective):
    def __call__(self, scored: Scored) -> torch.Tensor:
        return nll(scored)


@pytest.mark.parametrize("backwards", [False, True])
def test_a_step_is_the_same_in_less_memory(
    tiny: Any, architecture: str, backwards: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        "lada.models.trainer.make_optimizer",
        lambda model, options: torch.optim.SGD(model.parameters(), lr=options.learning_rate),
    )
    pairs = zip(tiny.questions, tiny.paths, strict=True)
    lessons = [Lesson(str(i), question, path, weight=1.0 + i) for i, (question, path) in enumerate(pairs)] * 2
    steady = Optimisation(learning_rate=0.1, warm_up=0.0, floor=1.0, clip=1e9)
    settings = Study(steps=2, batch_size=8, optimisation=steady)
    plain, short = tiny.learner(architecture), cramped(tiny, architecture, 3, backwards=backwards)
    expected = plain.study(lessons, Nll(), settings, seed=0)
    found = short.study(lessons, Nll(), settings, seed=0)
    assert (found.first_loss, found.last_loss) == pytest.approx((expected.first_loss, expected.last_loss), abs=1e-5)
    assert (found.tokens, found.steps) == (expected.tokens, 2)
    assert short.take_notices()[0].startswith("out of memory in 'study' with 8 samples at once; it continued with 2")
    for weight, wanted in zip(short.model.parameters(), plain.model.parameters(), strict=True):
        assert torch.allclose(weight, wanted, rtol=0, atol=1e-6)


def test_an_optimiser_that_does_not_fit_is_said_to_be_so(tiny: Any, monkeypatch: pytest.MonkeyPatch):
    class Greedy(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            raise spent()

    monkeypatch.setattr("lada.models.trainer.make_optimizer", lambda model, options: Greedy(model.parameters(), lr=1.0))
    with pytest.raises(InputError, match=r"training it does not fit into memory .*tune: lora"):
        tiny.learner().study([Lesson("a", "?", "5")], Nll(), Study(steps=1), seed=0)


def test_the_server_hears_of_it_once(tiny: Any, tmp_path: Path):
    unused: Any = None

    def party(name: str, role: str) -> Party:
        return Party(
            name=name, role=role, learner=cramped(tiny, "llama", 2), emit=lambda event: None, clock=lambda: 0.0,
            seed=0, folder=tmp_path, private=(), task=unused, allocator=unused, objective=sft(), studies=unused,
        )  # fmt: skip

    server = party("llm", "server")
    for round in (1, 2):
        client = party("slm", "client")  # as a client is brought back from disk for each message
        with client.phase(round, "embed"):
            client.learner.embed(tiny.questions)
        collect(server, {"slm": report_payload(client)})
    (notice,) = server.report.notices
    assert notice.startswith("slm: out of memory in 'embed' with 4 samples at once; it continued with 2")
