"""Measures a device's speed with one matrix product, in a few hundredths of a second."""

import time
from collections.abc import Callable
from functools import cache

import numpy as np
from threadpoolctl import threadpool_limits

SIZES = {"cpu": 512}
LARGE = 4096
"""Rows of the matrices: few on a CPU, so that a product ends within one time slice; otherwise LARGE."""
TRIES = 12


@cache
def flops(device: str, dtype: str) -> float:
    """Return the floating-point operations per second of a matrix product on one CPU core or on an accelerator.

    `dtype` is that of an accelerator's matrices. The best of several tries counts, since other programs may be running.
    """
    size = SIZES.get(device, LARGE)
    return 2 * size**3 / (_on_one_core(size) if device == "cpu" else _on_accelerator(device, dtype, size))


def _on_one_core(size: int) -> float:
    ones = np.ones((size, size), np.float32)
    with threadpool_limits(1):
        return _best(lambda: ones @ ones)


def _on_accelerator(device: str, dtype: str, size: int) -> float:
    import torch

    ones = torch.ones((size, size), dtype=getattr(torch, dtype), device=device)
    synchronize = torch.get_device_module(device).synchronize

    def product() -> None:
        torch.matmul(ones, ones)
        synchronize()

    return _best(product)


def _best(compute: Callable[[], object]) -> float:
    """Return the seconds of the fastest of TRIES."""
    taken = []
    for _ in range(TRIES):
        start = time.perf_counter()
        compute()
        taken.append(time.perf_counter() - start)
    return min(taken)
