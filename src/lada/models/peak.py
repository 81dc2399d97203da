"""The peak memory of a phase, as far as the platform reports it.

On CUDA, it is the memory of this process's tensors on its devices, without PyTorch's caches and the CUDA context. On
MPS, it is the memory that the driver holds for this process. On a CPU, it is the resident size of the whole process,
including the interpreter, libraries and all parties in the process. Only Linux reports it for a single phase; elsewhere
it is the highest since the process began.
"""

import re
import sys
from contextlib import suppress
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
CLEAR_PEAK = "5"
"""The value that makes Linux forget the highest resident size."""


def begin_peak(device: str) -> None:
    """Begin a phase of a learner on `device`, such as `cuda:0`."""
    if device.startswith("cuda"):
        import torch  # here, since a server behind an API does not need it

        for i in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(i)
    else:
        with suppress(OSError):
            CLEAR.write_text(CLEAR_PEAK)


def peak_memory(device: str) -> int:
    """Return the peak of the phase, bytes; 0 if the platform does not report it."""
    if device.startswith("cuda"):
        import torch

        return sum(torch.cuda.max_memory_allocated(i) for i in range(torch.cuda.device_count()))
    if device.startswith("mps"):
        import torch

        return torch.mps.driver_allocated_memory()
    return resident_peak()


def resident_peak() -> int:
    """Return the highest resident size of this process, bytes; 0 on Windows, which has no such call."""
    # On Linux, getrusage would start from the size of the parent process.
    with suppress(OSError):
        if found := re.search(r"^VmHWM:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE):
            return int(found[1]) * 1024
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes, except on macOS
