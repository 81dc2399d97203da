"""The equipment of this machine: packages, devices, disk space."""

import platform
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import psutil
from huggingface_hub.constants import HF_HUB_CACHE
from packaging.requirements import Requirement

from lada.core.cache import cache_folder
from lada.core.distribution import DISTRIBUTION, install_command
from lada.models.placement import may_be_accelerated

CGROUP = Path("/sys/fs/cgroup/memory.max")
"""How much memory a container may take, on Linux."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device by PyTorch's name, such as `cpu` or `cuda:0`, with its memory, bytes."""

    name: str
    what: str
    free: int
    total: int


@dataclass(frozen=True, slots=True)
class Package:
    """A package that LaDa can use; `have` is its version or None, `install` the command that installs it if it is
    missing.

    `extra` is the part of LaDa that needs it, empty for LaDa itself.
    """

    name: str
    extra: str
    have: str | None

    @property
    def install(self) -> str:
        """Return the command that installs it."""
        return install_command(self.extra)


@dataclass(frozen=True, slots=True)
class Disk:
    """A folder that LaDa writes to, and the free bytes there."""

    what: str
    folder: Path
    free: int


def python() -> str:
    """Return Python's version and the system it runs on."""
    return f"{platform.python_version()} on {platform.platform()}"


def packages() -> tuple[Package, ...]:
    """Return the packages that LaDa's metadata names, without those for developing LaDa itself."""
    found: dict[str, Package] = {}
    for text in requires(DISTRIBUTION) or ():
        requirement = Requirement(text)
        marker = str(requirement.marker or "")
        extra = marker.partition("extra == ")[2].strip("\"'")
        if extra not in ("dev", "docs"):
            found.setdefault(requirement.name, Package(requirement.name, extra, _version(requirement.name)))
    return tuple(sorted(found.values(), key=lambda package: (package.extra, package.name)))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def devices() -> tuple[Device, ...]:
    """Return the CPU and all accelerators."""
    memory = psutil.virtual_memory()
    total = _limited(memory.total)
    found = [Device("cpu", platform.processor() or platform.machine(), min(memory.available, total), total)]
    if not may_be_accelerated():
        return tuple(found)
    import torch

    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            found.append(Device(f"cuda:{i}", torch.cuda.get_device_name(i), *torch.cuda.mem_get_info(i)))
    if torch.backends.mps.is_available():
        most = torch.mps.recommended_max_memory()
        found.append(Device("mps", "Metal", most - torch.mps.driver_allocated_memory(), most))
    return tuple(found)


def _limited(total: int) -> int:
    try:
        text = CGROUP.read_text().strip()
    except OSError:
        return total
    return min(total, int(text)) if text.isdecimal() else total


def disks(runs: Path = Path("runs")) -> tuple[Disk, ...]:
    """Return the folders of runs, of LaDa's cache and of the hub's cache."""
    folders = {"runs": runs.absolute(), "LaDa's cache": cache_folder(), "cache of the hub": Path(HF_HUB_CACHE)}
    return tuple(Disk(what, folder, _free(folder)) for what, folder in folders.items())


def _free(folder: Path) -> int:
    """Return the free bytes where a folder is or would be created."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return shutil.disk_usage(there).free
