"""The way back from log-probs to logits: exact, and written over the logits wherever nothing needs them any more."""

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from lada.models import likelihood
from lada.models.likelihood import Predicted, is_spare, log_probs_of

N, WIDTH, VOCABULARY = 6, 5, 11


class Packed(torch.autograd.Function):
    """Stands for a layer with code of its own, which may keep anything."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(hidden, weight)
        return hidden @ weight.T

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        hidden, weight = ctx.saved_tensors
        return grads[0] @ weight, grads[0].flatten(0, -2).T @ hidden.flatten(0, -2)


class Adapted(nn.Module):
    """A head under LoRA."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        inject_adapter_in_model(LoraConfig(r=2, target_modules=["head"], init_lora_weights=False), self)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.head(hidden)


HEADS: dict[str, tuple[Callable[[], nn.Module], Callable[[nn.Module, Tensor], Tensor], bool]] = {
    "plain": (lambda: nn.Linear(WIDTH, VOCABULARY, bias=False), lambda head, x: head(x), True),
    "bias": (lambda: nn.Linear(WIDTH, VOCABULARY), lambda head, x: head(x), True),
    "in a line": (lambda: nn.Linear(WIDTH, VOCABULARY), lambda head, x: head(x).flatten(0, -2), True),
    "scaled, as Granite's": (lambda: nn.Linear(WIDTH, VOCABULARY), lambda head, x: head(x) / 3, True),
    "scaled in place": (lambda: nn.Linear(WIDTH, VOCABULARY), lambda head, x: head(x).mul_(0.5), False),
    "soft cap, as Gemma's": (lambda: nn.Linear(WIDTH, VOCABULARY), lambda head, x: (head(x) / 3).tanh() * 3, True),
    "cap that keeps what it gives": (lambda: nn.Linear(WIDTH, VOCABULARY), lambda head, x: head(x).tanh(), False),
    "a view of what is kept": (lambda: nn.Linear(WIDTH, VOCABULARY), lambda head, x: head(x).sigmoid()[..., :9], False),
    "LoRA": (Adapted, lambda head, x: head(x), True),
    "code of its own": (
        lambda: nn.Linear(WIDTH, VOCABULARY),
        lambda head, x: Packed.apply(x, head.weight),  # pyright: ignore[reportReturnType]
        False,
    ),
}


def given_to(kind: str, dtype: torch.dtype) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a head, hidden states [1, N, width], and its logits of them."""
    torch.manual_seed(0)
    make, run, _ = HEADS[kind]
    head = make().to(dtype)
    hidden = torch.randn(1, N, WIDTH, dtype=dtype, requires_grad=True)
    return head, hidden, run(head, hidden)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", HEADS)
def test_gradients_are_those_of_log_softmax_whatever_the_head(
    kind: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(likelihood, "CHUNK", 2 * VOCABULARY)
    own, beside = torch.tensor([1, 2, 0, 4, 8, 5]), torch.tensor([[0, 3], [1, 7], [4, 6], [2, 3], [0, 1], [0, 2]])
    weights = torch.randn(N, 3, generator=torch.Generator().manual_seed(1))
    found = []
    for mine in (True, False):
        head, hidden, logits = given_to(kind, dtype)
        logits = logits.flatten(0, -2)
        if mine:
            assert is_spare(logits) == HEADS[kind][2]
            told = log_probs_of(Predicted(logits, own, torch.ones(1, N, dtype=torch.bool)), beside)
            log_probs = torch.cat([told[0][:, None], told[1]], 1)
        else:
            log_probs = logits.float().log_softmax(1).gather(1, torch.cat([own[:, None], beside], 1))
        trained = [p for p in head.parameters() if p.requires_grad and (kind != "code of its own" or p.dim() > 1)]
        gradients = torch.autograd.grad((log_probs * weights).sum(), [hidden, *trained])
        found.append((log_probs.detach(), *gradients))
    close: dict[str, Any] = {"atol": 1e-6} if dtype == torch.float32 else {"atol": 0.03, "rtol": 0.03}
    assert len(found[0]) == len(found[1]) > 2
    assert all(torch.allclose(a, b, **close) for a, b in zip(*found, strict=True))
    assert found[0][0].dtype == torch.float32


@given(
    chunk=st.integers(1, 200),
    n=st.integers(1, 9),
    vocabulary=st.integers(2, 17),
    k=st.integers(0, 4),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=40, deadline=None)
def test_gradients_are_the_slopes_of_log_probs_in_chunks_of_any_size(
    chunk: int, n: int, vocabulary: int, k: int, seed: int
):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(vocabulary, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    own = torch.randint(vocabulary, (n,), generator=generator)
    beside = torch.rand(n, vocabulary, generator=generator).argsort(1)[:, :k]

    def log_probs(hidden: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        return log_probs_of(Predicted(hidden @ weight.T, own, torch.ones(1, n, dtype=torch.bool)), beside)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likelihood, "CHUNK", chunk)
        found, others = log_probs(hidden, weight)
        dense = (hidden @ weight.T).log_softmax(1)
        assert torch.allclose(found, dense.gather(1, own[:, None])[:, 0])
        assert torch.allclose(others, dense.gather(1, beside))
        slopes = torch.randn(n, 1 + beside.shape[1], generator=generator, dtype=torch.float64)
        expected = torch.autograd.grad(dense.gather(1, torch.cat([own[:, None], beside], 1)), (hidden, weight), slopes)
        mine = torch.autograd.grad((found * slopes[:, 0]).sum() + (others * slopes[:, 1:]).sum(), (hidden, weight))
        assert all(torch.allclose(a, b) for a, b in zip(mine, expected, strict=True))
        patch.setattr(likelihood, "is_spare", lambda logits: False)  # gradcheck goes back more than once
        assert torch.autograd.gradcheck(log_probs, (hidden, weight))


def test_a_second_way_back_is_refused_where_the_first_has_taken_the_logits():
    _, hidden, logits = given_to("plain", torch.float32)
    own, _ = log_probs_of(Predicted(logits.flatten(0, -2), torch.arange(N), torch.ones(1, N, dtype=torch.bool)))
    torch.autograd.grad(own.sum(), hidden, retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(own.sum(), hidden)


def cap(logits: Tensor) -> Tensor:
    return torch.tanh(logits * 0.5)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_a_scripted_head_keeps_what_it_gives():
    scripted = torch.jit.script(cap)
    found = []
    for run in (scripted, scripted, scripted, cap):  # the way back in one step begins with the second run
        _, hidden, logits = given_to("plain", torch.float32)
        told = Predicted(run(logits).flatten(0, -2), torch.arange(N), torch.ones(1, N, dtype=torch.bool))
        found.append(torch.autograd.grad(log_probs_of(told)[0].sum(), hidden)[0])
    assert all(torch.allclose(each, found[-1], atol=1e-6) for each in found)


@pytest.mark.parametrize(("dtype", "most"), [(torch.float32, 1.3), (torch.bfloat16, 1.7)])
def test_a_step_holds_the_logits_once(dtype: torch.dtype, most: float, monkeypatch: pytest.MonkeyPatch):
    """1,000 × 2,000 logits, next to several float32 chunks of a tenth of them."""
    monkeypatch.setattr(likelihood, "CHUNK", 100_000)
    head, n = nn.Linear(8, 2000, bias=False, dtype=dtype), 1000
    hidden, own = torch.randn(n, 8, dtype=dtype, requires_grad=True), torch.arange(n)

    def step() -> None:
        log_probs, _ = log_probs_of(Predicted(head(hidden), own, torch.ones(1, n, dtype=torch.bool)))
        log_probs.mean().backward()

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        step()
    profiler: Any = recorded.profiler
    changes = [e.nbytes() for e in profiler.kineto_results.events() if e.name() == "[memory]"]
    whole = n * 2000 * dtype.itemsize
    assert whole <= max(accumulate(changes)) < most * whole
