"""Work that shrinks where memory runs out, so that a run goes on instead of ending."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from lada.core.errors import InputError
from lada.core.plural import counted

T = TypeVar("T")
SIGNS = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What devices say when memory is spent: CUDA and MPS, the CPU, and cuBLAS when it finds none for itself."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory is spent."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


@contextmanager
def within_memory(what: str) -> Iterator[None]:
    """Raise InputError where `what` runs out of memory and no smaller batch would help."""
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
    """Runs the batches of several kinds of work, each kind with the size that was found to fit.

    What fits is found by failing: a batch that runs out of memory is halved and tried again, and no later batch of its
    kind is larger. A batch's results must be those of its halves.
    """

    def __init__(self) -> None:
        self._fits: dict[str, int] = {}
        self._failed: dict[str, int] = {}

    def fit(self, kind: str, size: int, work: Callable[[int], T]) -> T:
        """Return `work(size)`, for the largest size that fits among `size`, its half, and so on down to 1.

        `work` must be repeatable after it failed. Raises InputError where not even one row fits.
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
            # Behind the handler, since the error's traceback holds on to what is to be freed.
            _release()
            self._failed.setdefault(kind, size)
            size //= 2
            self._fits[kind] = size

    def each(
        self, kind: str, batches: Iterable[list[int]], work: Callable[[list[int]], T]
    ) -> Iterator[tuple[list[int], T]]:
        """Yield batches, or parts of them that fit, each with `work(batch)`."""
        for batch in batches:
            rest = batch
            while rest:
                size, result = self.fit(kind, len(rest), lambda size, rest=rest: (size, work(rest[:size])))
                yield rest[:size], result
                rest = rest[size:]

    def take_notices(self) -> tuple[str, ...]:
        """Return what has shrunk since this was last asked, in words, kind by kind."""
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
    """Give back what allocators keep for later, since pieces of it may be too small for the next try."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
