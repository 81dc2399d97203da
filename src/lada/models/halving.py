"""Reduces the batch size when memory runs out, so that a run continues."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from lada.core.errors import InputError
from lada.core.plural import counted

T = TypeVar("T")
SIGNS = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""The messages of devices that are out of memory: CUDA and MPS, the CPU, and cuBLAS for its own memory."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


@contextmanager
def within_memory(what: str) -> Iterator[None]:
    """Raise InputError if `what` runs out of memory and no smaller batch would help."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(
            f"{what} does not fit into memory ({str(error).partition(chr(10))[0]}); use a smaller model, tune: lora, "
            "quantise: 4bit, dtype: bfloat16 or another device"
        ) from error


class Halving:
    """Runs the batches of several kinds of work, each kind with a size that fits.

    The size is found by failing: a batch that runs out of memory is halved and tried again, and later batches of its
    kind are no larger. A batch's results must equal those of its halves.
    """

    def __init__(self) -> None:
        self._fits: dict[str, int] = {}
        self._failed: dict[str, int] = {}

    def fit(self, kind: str, size: int, work: Callable[[int], T]) -> T:
        """Return `work(size)`, for the largest size that fits among `size`, its half, and so on down to 1.

        `work` must be repeatable after a failure. Raises InputError if not even one row fits.
        """
        size = min(size, self._fits.get(kind, size))
        while True:
            try:
                return work(size)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if size == 1:
                    raise InputError(_hopeless(kind, error)) from error
            # After the handler, since the error's traceback keeps the memory that must be freed.
            _release()
            self._failed.setdefault(kind, size)
            size //= 2
            self._fits[kind] = size

    def each(
        self, kind: str, batches: Iterable[list[int]], work: Callable[[list[int]], T]
    ) -> Iterator[tuple[list[int], T]]:
        """Yield batches, or parts of them that fit, each with the result of `work(batch)`."""
        for batch in batches:
            rest = batch
            while rest:
                size, result = self.fit(kind, len(rest), lambda size, rest=rest: (size, work(rest[:size])))
                yield rest[:size], result
                rest = rest[size:]

    def take_notices(self) -> tuple[str, ...]:
        """Return notices on what has shrunk since the last call, kind by kind."""
        notices = tuple(
            f"out of memory in {kind!r} with {counted(failed, 'sample')} at once; it continued with "
            f"{self._fits[kind]}: set {_key(kind)}: {self._fits[kind]} to avoid the failed attempt"
            for kind, failed in sorted(self._failed.items())
        )
        self._failed.clear()
        return notices


def _key(kind: str) -> str:
    return "micro_batch_size" if kind == "study" else "model.batch_size"


def _hopeless(kind: str, error: BaseException) -> str:
    fixes = "model.max_new_tokens or shorter texts, a smaller model, dtype: bfloat16 or quantise: 4bit"
    if kind == "study":
        fixes = f"model.gradient_checkpointing: true, tune: lora, {fixes}"
    return (
        f"{_key(kind)}: out of memory in {kind!r} even with one sample at a time "
        f"({str(error).partition(chr(10))[0]}); try {fixes}"
    )


def _release() -> None:
    """Release memory that allocators keep, since its pieces may be too small for the next attempt."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
