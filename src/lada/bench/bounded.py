"""The limits under which results are reproducible: one thread, and the instructions that most processors have."""

import os
import subprocess
import sys
from collections.abc import Sequence

import torch

from lada.federation.workers import ONE_THREAD

AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2", "OPENBLAS_CORETYPE": "Haswell"}
"""Environment variables that limit PyTorch, and the linear algebra below it and scikit-learn, to AVX2."""


def bounded() -> dict[str, str]:
    """Return the environment of a process with one thread and the instructions that processors of the last ten years
    share.

    Kernels for other instructions add in another order, which gives other figures. Without AVX2, nothing is limited.
    The user's environment takes precedence.
    """
    has_it = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    return {**(AVX2 if has_it else {}), **os.environ, **ONE_THREAD}


def run_bounded(command: Sequence[str]) -> int | None:
    """Run a `lada` command again within the limits and return its exit code; None if this process is within them."""
    limits = bounded()
    if all(os.environ.get(name) == value for name, value in limits.items()):
        return None
    return subprocess.run([sys.executable, "-m", "lada", *command], env=limits, check=False).returncode
