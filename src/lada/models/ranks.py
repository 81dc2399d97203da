"""Data-parallel studies: each rank has a copy of the model and processes its share of every batch's rows.

Each rank divides its sum over rows by the whole batch's tokens. So the gradients of all ranks are added, not averaged,
and each rank then takes the same step (Li et al. 2020, arXiv 2006.15704). They are added once per step, after its
micro-batches, since ranks may have different numbers of these, or none.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")
BUCKET = 2**24
"""How many numbers are sent at once; as many are held in addition to the gradients."""
LONGEST_PAUSE = 0.005
"""Seconds between two checks for arrivals."""


class Ranks:
    """The processes that study one model together; this one has the number `rank`. This base class is a single
    process."""

    rank = 0
    size = 1

    def share(self, rows: Sequence[T]) -> list[T]:
        """Return this rank's rows of a batch, every `size`-th, so that long and short rows are spread evenly."""
        return list(rows[self.rank :: self.size])

    def agree(self, weights: Iterable[Tensor]) -> None:
        """Give all ranks the weights of rank 0."""

    def add_up(self, numbers: Tensor) -> Tensor:
        """Return the sum of all ranks' tensors, which have the same shape."""
        return numbers

    def add_gradients(self, weights: Sequence[Tensor], loss: float) -> float:
        """Store the sum of all ranks' gradients in the weights, and return the sum of their losses."""
        return loss


ALONE = Ranks()


class Group(Ranks):
    """Several ranks, over gloo or NCCL."""

    def __init__(
        self, rank: int, size: int, device: torch.device, store: Path, timeout: float, watch: Callable[[], None]
    ) -> None:
        """Meet the others through the file `store`. `watch` is called while it waits for them; it may raise."""
        self.rank, self.size = rank, size
        self._device = device
        self._watch = watch
        self._timeout = timeout
        self._group = _meet(device, store, rank, size, timedelta(seconds=timeout))

    def agree(self, weights: Iterable[Tensor]) -> None:
        """See Ranks.agree."""
        with torch.no_grad():
            for weight in weights:
                held = weight.detach().contiguous()
                self._wait(self._group.broadcast(held, 0))
                if held.data_ptr() != weight.data_ptr():
                    weight.copy_(held)

    def add_up(self, numbers: Tensor) -> Tensor:
        """See Ranks.add_up. All ranks get bit-for-bit the same sum."""
        sent = numbers.to(self._device)
        self._wait(self._group.allreduce([sent]))
        return sent

    def add_gradients(self, weights: Sequence[Tensor], loss: float) -> float:
        """See Ranks.add_gradients. A weight without a gradient in any rank has none afterwards."""
        # Doubles keep losses exact; MPS, which lacks them, is refused.
        told = torch.tensor([loss, *(weight.grad is not None for weight in weights)], dtype=torch.float64)
        total, *known = self.add_up(told).tolist()
        trained = [weight for weight, count in zip(weights, known, strict=True) if count]
        for weight in trained:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        for bucket in _buckets([weight.grad for weight in trained if weight.grad is not None]):
            summed = self.add_up(torch.cat([gradient.reshape(-1) for gradient in bucket]))
            for gradient, part in zip(bucket, summed.split([each.numel() for each in bucket]), strict=True):
                gradient.copy_(part.view_as(gradient))
        return total

    def _wait(self, work: Any) -> None:
        """Wait for a message and watch the others meanwhile: NCCL would wait forever for a dead rank."""
        end, pause = time.monotonic() + self._timeout, 0.0
        while not work.is_completed():
            self._watch()
            if time.monotonic() > end:
                raise TimeoutError(f"another rank has been silent for {self._timeout:g} s")
            time.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 1.5 + 1e-5)
        work.wait()


def _meet(device: torch.device, place: Path, rank: int, size: int, timeout: timedelta) -> Any:
    """Return a separate group, since the process's default group may belong to other code."""
    distributed: Any = dist
    store = distributed.FileStore(str(place), size)
    if device.type == "cuda":
        options = distributed.ProcessGroupNCCL.Options()
        options._timeout = timeout
        return distributed.ProcessGroupNCCL(store, rank, size, options)
    options = distributed.ProcessGroupGloo._Options()
    options._timeout = timeout
    options._devices = [distributed.ProcessGroupGloo.create_device(hostname="127.0.0.1")]  # local only
    return distributed.ProcessGroupGloo(store, rank, size, options)


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Yield groups of neighbouring tensors of one dtype with at most BUCKET numbers in total; larger tensors form their
    own group."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        full = bucket and sum(each.numel() for each in bucket) + gradient.numel() > BUCKET
        if bucket and (full or gradient.dtype != bucket[0].dtype):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket
