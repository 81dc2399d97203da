"""The contract of export targets: what they receive, and what they provide."""

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
    """The whole model with any adapter merged; for adapter targets, peft's model with a separate adapter."""
    base: str
    """The party's base: a folder or the name of a repository on the hub …"""
    revision: str | None
    """… and its revision."""
    tokenizer: Any
    """The tokenizer, with a chat template that gives the party's prompts if one could be written."""
    prompt: str
    """The template with `{question}` that applies if `tokenizer` has no chat template."""
    encode: Callable[[Any], Encoder]
    """Makes the party's encoder over another tokenizer."""
    dtype: torch.dtype
    """The type of the weights, which are already rounded to it."""
    quantise: str | None
    """The quantised format for the matrices, a key of the target's `quantised`."""
    max_new_tokens: int
    context: int
    ends: tuple[int, ...]
    """The tokens that end an answer; the first is the one that ended the paths in training."""
    pad: int
    output: Path
    questions: tuple[str, ...]
    tell: Tell


@dataclass(frozen=True, slots=True)
class Target:
    """An export format. `write` returns notes for the user of the files."""

    dtypes: tuple[str, ...]
    """The types that weights may have; the first is the default."""
    known: Callable[[Any], None]
    """Takes the configuration of a model. Raises InputError, before weights are read, if a package is missing or this
    kind of model cannot be written."""
    ready: Callable[[Any, Any], None]
    """Takes model and tokenizer. Raises InputError, before anything is computed, if either cannot be written."""
    write: Callable[[Parcel], tuple[str, ...]]
    check: Callable[[Parcel, Trial], Check]
    least_dims: int = 1
    """Weights with fewer dimensions stay float32."""
    quantised: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    """Quantised formats, which may be chosen instead of a dtype. Each has a check that raises InputError if a program
    that it needs is missing."""
    adapter: bool = False
    """Whether it takes only the adapter."""


def any_kind(config: Any) -> None:
    """Accept every kind of model."""


def require(package: str, extra: str) -> Any:
    """Import an optional package. Raises InputError with the install command if that fails."""
    return extras.require(package, "export", extra)


@contextmanager
def quiet(name: str, level: int = logging.ERROR) -> Iterator[None]:
    """Hide a logger's messages below `level` from the user."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)
