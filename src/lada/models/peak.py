"""How much memory a phase took at its peak, as far as the platform tells.

On CUDA it is what this process's tensors took on its devices, without the caches of PyTorch and the CUDA context. On
MPS it is what the driver holds for this process. On a CPU it is the resident size of the whole process: interpreter,
libraries and, with several parties in one process, all of them are part of it. Only Linux tells it of the phase alone;
elsewhere it is the highest since the process began.
"""

import re
import sys
from contextlib import suppress
from pathlib import Path

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
CLEAR_PEAK = "5"
"""What Linux takes for: forget the highest resident size."""


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
    """Return the peak of the phase, bytes; 0 where the platform does not tell."""
    if device.startswith("cuda"):
        import torch

        return sum(torch.cuda.max_memory_allocated(i) for i in range(torch.cuda.device_count()))
    if device.startswith("mps"):
        import torch

        return torch.mps.driver_allocated_memory()
    return resident_peak()


def resident_peak() -> int:
    """Return the highest resident size of this process, bytes; 0 on Windows, which has no such call."""
    # On Linux getrusage would start from the size of the process that started this one.
    with suppress(OSError):
        if found := re.search(r"^VmHWM:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE):
            return int(found[1]) * 1024
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes, but for macOS
