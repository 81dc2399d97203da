"""What a target is given to write, and what it has to offer."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lada.core import extras
from lada.export.check import Check, Tell, Trial
from lada.models.encoding import Encoder


@dataclass(frozen=True, slots=True)
class Parcel:
    """A party's model, ready to be written, held in float32."""

    name: str
    model: Any
    """Whole, with any adapter in its weights; for a target of adapters peft's model, with the adapter apart."""
    base: str
    """What the party was trained from: a folder or the name of a repository on the hub …"""
    revision: str | None
    """… and which of its states."""
    tokenizer: Any
    """With a chat template that gives the party's prompts, wherever one could be written."""
    prompt: str
    """The template with `{question}` that holds where `tokenizer` has no chat template."""
    encode: Callable[[Any], Encoder]
    """Makes the party's encoder over another tokenizer."""
    dtype: torch.dtype
    """The weights are those of this type already, if rounded."""
    quantise: str | None
    """The format of fewer bits that the matrices are to get, a key of the target's `quantised`."""
    max_new_tokens: int
    context: int
    ends: tuple[int, ...]
    """The tokens that end an answer, first the one that closed the paths that were learnt."""
    pad: int
    output: Path
    questions: tuple[str, ...]
    tell: Tell


@dataclass(frozen=True, slots=True)
class Target:
    """A format. `write` returns what the user should know of the files."""

    dtypes: tuple[str, ...]
    """The first is taken where none is asked for."""
    known: Callable[[Any], None]
    """Takes the configuration of a model; raises InputError, before weights are read, where a package is missing or
    this kind of model cannot be written."""
    ready: Callable[[Any, Any], None]
    """Takes model and tokenizer; raises InputError, before anything is computed, where either cannot be written."""
    write: Callable[[Parcel], tuple[str, ...]]
    check: Callable[[Parcel, Trial], Check]
    least_dims: int = 1
    """Weights of fewer dimensions stay float32."""
    quantised: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    """Formats of fewer bits, which may be asked for in place of a dtype, each with what raises InputError where a
    program that it takes is missing."""
    adapter: bool = False
    """Whether it takes the adapter alone."""


def any_kind(config: Any) -> None:
    """Take every kind of model."""


def require(package: str, extra: str) -> Any:
    """Import and return an optional package. Raises InputError with the install line where that fails."""
    return extras.require(package, "export", extra)


@contextmanager
def quiet(name: str, level: int = logging.ERROR) -> Iterator[None]:
    """Keep what a logger says of its own work, below `level`, from the user."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
