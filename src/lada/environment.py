"""The environment of a run: machine and versions."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

from lada.core.distribution import lada_version
from lada.core.results import Environment

CPU_INFO = Path("/proc/cpuinfo")
PACKAGES = ("torch", "transformers", "tokenizers", "flwr", "numpy", "scikit-learn", "peft")


def environment(device: str) -> Environment:
    """Return the environment of this run."""
    return Environment(
        lada=lada_version(),
        git=commit(),
        python=platform.python_version(),
        packages=dict(_packages()),
        device=device,
        processor=_processor(),
        instructions=_instructions(),
    )


@cache
def _packages() -> tuple[tuple[str, str], ...]:
    return tuple((name, version(name)) for name in PACKAGES)


def _processor() -> str:
    lines = CPU_INFO.read_text(encoding="utf-8").splitlines() if CPU_INFO.exists() else []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()


def _instructions() -> str:
    mkl = os.environ.get("MKL_CBWR")
    return torch.backends.cpu.get_cpu_capability() + (f", MKL_CBWR={mkl}" if mkl else "")


@cache
def commit() -> str | None:
    """Return the commit of LaDa's checkout, followed by `+` if files differ from it; None outside a checkout.

    A process asks git once, since edited files do not change what it has imported.
    """
    here = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*here, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
        changed = subprocess.run([*here, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.strip() + ("+" if changed.strip() else "")
