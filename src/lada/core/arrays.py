"""Named arrays as bytes in the safetensors format, which stores states of methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lada.core.errors import LadaError

if TYPE_CHECKING:
    import numpy as np


def arrays_to_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return named arrays in the safetensors format; equal arrays give equal bytes."""
    import numpy as np  # here, as below, since reading a configuration needs neither
    from safetensors.numpy import save

    return save({name: np.asarray(arrays[name], order="C") for name in sorted(arrays)})


def bytes_to_arrays(data: bytes) -> dict[str, np.ndarray]:
    """Return the arrays given to `arrays_to_bytes`, sorted by name. Raises LadaError for anything else."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise LadaError(f"arrays: not in the safetensors format ({error})") from error
    return dict(sorted(arrays.items()))
