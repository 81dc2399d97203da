"""Where a whole run computes: a clock around functions by name, and the most memory that the process had."""

import resource
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from importlib import import_module
from typing import Any
from unittest.mock import patch


def find(where: str) -> tuple[Any, str]:
    """Return who has the function `package.module:name`, or `package.module:Class.name`, and its name there.

    Raises ImportError or AttributeError where there is none.
    """
    module, _, name = where.partition(":")
    *classes, last = name.split(".")
    owner: Any = import_module(module)
    for each in classes:
        owner = getattr(owner, each)
    getattr(owner, last)
    return owner, last


@contextmanager
def clocked(stages: Mapping[str, str], seconds: MutableMapping[str, float]) -> Iterator[None]:
    """Let the function of each stage add the CPU time of its calls to `seconds`."""
    with ExitStack() as stack:
        for stage, where in stages.items():
            seconds[stage] = 0.0
            owner, name = find(where)
            stack.enter_context(patch.object(owner, name, _timed(stage, seconds, getattr(owner, name))))
        yield


def _timed(stage: str, seconds: MutableMapping[str, float], function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        start = time.process_time()
        try:
            return function(*given, **named)
        finally:
            seconds[stage] += time.process_time() - start

    return call


def peak() -> float:
    """Return the most memory that this process ever had, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
