"""Compiles a model's body with torch.compile during a study only.

Answering and saving are unaffected: weights keep their names, and the numbers of answers their exact values.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from shutil import which
from typing import Any

import torch

from lada.core.errors import InputError

COMPILERS = ("g++", "clang++", "c++", "cl")
"""C++ compilers that PyTorch looks for, in addition to the one in the environment variable CXX."""


def check_compiler(device: torch.device) -> None:
    """Raise InputError if this machine lacks a tool that torch.compile needs to build kernels."""
    if device.type == "cuda" and not find_spec("triton"):
        raise InputError(
            "model.compile: true needs the package triton on a CUDA device; install it with: pip install triton, or "
            "leave compile out"
        )
    named = os.environ.get("CXX")
    if device.type == "cpu" and not any(map(which, (named,) if named else COMPILERS)):
        raise InputError(
            f"model.compile: true needs a C++ compiler on a CPU, and {named or ', '.join(COMPILERS)} "
            "cannot be found; install g++, name another in the variable CXX, or leave compile out"
        )


def body_of(model: Any) -> Any:
    """Return the part of a causal LM, with or without an adapter, that computes hidden states.

    Raises InputError if the model has no such part.
    """
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    body = causal.base_model
    if body is causal:
        raise InputError(
            f"model.compile: true, but {type(causal).__name__} has no part for its hidden states alone; leave compile "
            "out"
        )
    return body


@contextmanager
def compiled(model: Any) -> Iterator[None]:
    """Run a model's body compiled, for any number of rows and tokens; restore it afterwards.

    Raises InputError if PyTorch cannot compile it.
    """
    from torch._dynamo.exc import TorchDynamoException  # the import takes a second

    body = body_of(model)
    before = body._compiled_call_impl
    body.compile(dynamic=True)  # in place: a wrapper would rename the weights
    try:
        yield
    except TorchDynamoException as error:
        reason = " ".join(str(error).split("\n")[:2])  # a compiler's own message is in the second line
        raise InputError(
            f"model.compile: true, but torch.compile fails for {type(body).__name__}: {reason}; leave compile out"
        ) from error
    finally:
        body._compiled_call_impl = before
