"""What a run runs on."""

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

from lada.core.results import Environment

PACKAGES = ("torch", "transformers", "tokenizers", "flwr", "numpy", "scikit-learn", "peft")


def environment(device: str) -> Environment:
    """Return what this run runs on."""
    return Environment(
        lada=version("lada"),
        git=_git(),
        python=platform.python_version(),
        packages={name: version(name) for name in PACKAGES},
        device=device,
    )


def _git() -> str | None:
    """Return the commit of the checkout LaDa runs from, with `+` behind it where files differ; None outside one."""
    here = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit = subprocess.run([*here, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
        changed = subprocess.run([*here, "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.strip() + ("+" if changed.strip() else "")
