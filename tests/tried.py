"""What is found of a model when it is loaded, found once for each; and the shipped models, read from disk once."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

from lada.models import frame, load
from lada.models.company import TEXT, Batching, try_batching
from lada.models.encoding import Encoder
from lada.models.options import Generation, ModelOptions
from lada.zoo.shipped import SHIPPED

TRIED: dict[tuple[Any, ...], Batching] = {}
CHECKED: set[tuple[Any, ...]] = set()
READ: dict[tuple[Any, ...], Any] = {}


@contextmanager
def once() -> Iterator[None]:
    """Let runs of this process try, check and read each model once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lada.models.learner.try_batching", try_once)
        patch.setattr(load, "check_frame", check_once)
        patch.setattr(load, "_load_model", read_once)
        yield


def is_shipped(source: str) -> bool:
    """Return whether a folder is one of the shipped models, which no test changes."""
    return Path(source).parent == SHIPPED


def check_once(source: str, config: Any, options: ModelOptions) -> None:
    """Do what check_frame does, once for each shipped model and options."""
    key = source, repr(config.to_dict()), options.model_dump_json()
    if key not in CHECKED:
        frame.check_frame(source, config, options)
        if is_shipped(source):
            CHECKED.add(key)


def read_once(source: str, revision: str | None, told: dict[str, Any], *, read: Any = load._load_model) -> Any:
    """Return what _load_model does; for a shipped model, a copy of what it returned before."""
    if not is_shipped(source) or "device_map" in told:
        return read(source, revision, told)
    key = source, repr(sorted(told.items()))
    if key not in READ:
        READ[key] = read(source, revision, told)
    return deepcopy(READ[key])


def try_once(model: Any, encoder: Encoder, generation: Generation) -> Batching:
    """Return what try_batching does, from memory for equal weights in an equal model with an equal tokenizer."""
    if "forward" in vars(model):
        return try_batching(model, encoder, generation)
    weights = sha256()
    for name, weight in model.state_dict().items():
        weights.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        weights.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    text = encoder.completion(TEXT), encoder.ends, encoder.pad, encoder.context
    attention = getattr(model.config, "_attn_implementation", None)
    key = type(model), repr(model.config.to_dict()), attention, repr(generation), text, weights.digest()
    if key not in TRIED:
        TRIED[key] = try_batching(model, encoder, generation)
    return TRIED[key]
