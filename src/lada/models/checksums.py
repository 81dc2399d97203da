"""Checksums of saved weights: weights that are not restored correctly cause an error instead of a worse model."""

import json
import zlib
from importlib.metadata import version
from pathlib import Path as FilePath
from typing import Any

from torch import Tensor

from lada.core.errors import InputError

FILE = "checksums.json"


def write_checksums(model: Any, folder: FilePath) -> None:
    """Write the checksums of a model's weights (if it has an adapter, only the adapter's) next to the saved files."""
    (folder / FILE).write_text(json.dumps(checksums(model), indent=1) + "\n", encoding="utf-8")


def check_weights(model: Any, folder: FilePath) -> None:
    """Raise InputError, naming the weights, if weights loaded from `folder` differ from those saved there.

    A folder without checksums is accepted.
    """
    if not (folder / FILE).exists():
        return
    saved: dict[str, int] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    loaded = checksums(model)
    if lost := [name for name, checksum in saved.items() if loaded.get(name) != checksum]:
        raise InputError(
            f"model: {', '.join(lost[:3])}{' and more' if len(lost) > 3 else ''}: {len(lost)} of {len(saved)} weights "
            f"loaded from {str(folder)!r} are not those that were saved there; transformers {version('transformers')} "
            f"with peft {version('peft')} does not bring this model back; expected the versions that saved it, another "
            "model, or the other model.tune"
        )


def checksums(model: Any) -> dict[str, int]:
    """Return the CRC-32 of each weight in float32, which does not depend on the stored precision."""
    state = model.state_dict(keep_vars=True)
    adapter = hasattr(model, "peft_config")
    return {name: _crc(weight) for name, weight in state.items() if weight.requires_grad or not adapter}


def _crc(weight: Tensor) -> int:
    values = weight.detach().float() if weight.is_floating_point() else weight.detach()
    data: Any = values.cpu().contiguous().numpy().reshape(-1)
    return zlib.crc32(data)
