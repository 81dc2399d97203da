"""What a target is given to write, and what it has to offer."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lada.core.errors import InputError
from lada.export.check import Check, Trial
from lada.models.encoding import Encoder


@dataclass(frozen=True, slots=True)
class Parcel:
    """A party's model, ready to be written. The model is whole, without adapter, and held in float32."""

    name: str
    model: Any
    tokenizer: Any
    """With a chat template that gives the party's prompts, wherever one could be written."""
    prompt: str
    """The template with `{question}` that holds where `tokenizer` has no chat template."""
    encode: Callable[[Any], Encoder]
    """Makes the party's encoder over another tokenizer."""
    dtype: torch.dtype
    """The weights are those of this type already, if rounded."""
    max_new_tokens: int
    context: int
    ends: tuple[int, ...]
    """The tokens that end an answer, first the one that closed the paths that were learnt."""
    pad: int
    output: Path
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """A format. `write` returns what the user should know of the files."""

    default: str
    """The dtype that is taken where none is asked for."""
    dtypes: tuple[str, ...]
    least_dims: int
    """Weights of fewer dimensions stay float32."""
    ready: Callable[[Any, Any], None]
    """Takes model and tokenizer; raises InputError, before anything is computed, where a package is missing or either
    cannot be written."""
    write: Callable[[Parcel], tuple[str, ...]]
    check: Callable[[Parcel, Trial], Check]


def require(package: str, extra: str) -> Any:
    """Import an optional package. Raises InputError with its install line where it is missing."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(
            f"export: the package {package!r} is missing ({error}); install it with pip install 'lada[{extra}]', or "
            f"from a checkout with pip install -e '.[{extra}]'"
        ) from error
