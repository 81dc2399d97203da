"""Checks on the meta device, from the headers of files only, whether a model's weights fit its configuration."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from logging import CRITICAL
from pathlib import Path as FilePath
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from lada.core.errors import InputError
from lada.core.hub import reason
from lada.core.paths import is_folder
from lada.core.plural import counted
from lada.models.adapters import with_adapter
from lada.models.files import ADAPTER, weight_files
from lada.models.options import ModelOptions
from lada.models.quiet import no_bars


def check_frame(source: str, config: Any, options: ModelOptions) -> None:
    """Raise InputError if a run would refuse a configuration, its LoRA targets, or the weights of a folder.

    Weights of quantised models are not checked, since they have other shapes.
    """
    layers = getattr(config.get_text_config(), "num_hidden_layers", None)
    if isinstance(layers, int) and layers < 0:  # such a model can be built, but fails when it runs
        raise InputError(f"model: num_hidden_layers: {layers} in the config.json of {source!r}; expected 1 or more")
    attention = {} if options.attention is None else {"attn_implementation": options.attention}
    with _quiet(), torch.device("meta"):
        try:
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False, **attention)
        except Exception as error:  # each architecture checks its values in its own way
            raise InputError(
                f"model: cannot build the {config.model_type} that the config.json of {source!r} describes: "
                f"{type(error).__name__}: {reason(error)}; expected a causal language model that transformers knows"
            ) from error
        if is_folder(source) and getattr(config, "quantization_config", None) is None:
            check_loaded(source, type(model), _loaded(model, FilePath(source)))
        if options.tune == "lora":
            _check_adapter(model, options)


def check_loaded(source: str, kind: type, info: dict[str, Any]) -> None:
    """Raise InputError for missing weights or weights of other shapes, from transformers' report."""
    if missing := sorted(info["missing_keys"]):  # transformers would initialise these at random and continue
        more = f" and {counted(len(missing) - 1, 'other')}" if missing[1:] else ""
        raise InputError(
            f"model: {source!r} lacks the weights {missing[0]!r}{more}; expected those of a whole {kind.__name__}, as "
            "config.json describes it"
        )
    if other := sorted(info["mismatched_keys"]):
        name, there, expected = other[0]
        more = f"; so are {counted(len(other) - 1, 'other')}" if other[1:] else ""
        raise InputError(
            f"model: the weight {name!r} of {source!r} has the shape {list(there)}; expected {list(expected)} by its "
            f"config.json{more}; bring the config.json that the weights were saved with"
        )


def _loaded(model: Any, folder: FilePath) -> dict[str, Any]:
    """Return transformers' report on loading a folder's weights, from names and shapes only.

    It renames and joins weights as usual. If that is impossible without numbers, the report is empty.
    """
    nothing: dict[str, Any] = {"missing_keys": (), "mismatched_keys": ()}
    if (folder / ADAPTER).exists():
        return nothing
    try:
        _, info = type(model).from_pretrained(
            None,
            config=model.config,
            state_dict=dict(_headers(folder)),
            device_map={"": "meta"},
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception:  # a model's code may raise anything on shapes without numbers
        return nothing
    return info


def _headers(folder: FilePath) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights of a folder as shapes, without their numbers."""
    for file in weight_files(folder):
        with safe_open(str(folder / file), framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118 (it is no mapping)
                yield name, torch.empty(weights.get_slice(name).get_shape(), device="meta")


def _check_adapter(model: Any, options: ModelOptions) -> None:
    try:
        with_adapter(model, options.model_copy(update={"quantise": None}), 0, None)
    except InputError:
        raise
    except Exception:  # without numbers, an adapter may fail that works in a run
        return


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide transformers' tables and progress bars, since no model is really loaded."""
    level = logging.get_verbosity()
    logging.set_verbosity(CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore"), no_bars():
            yield
    finally:
        logging.set_verbosity(level)
