"""A verifier that is a function of the user's: `verify(sample, text)` in a Python file."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic import Field

from lada.core.errors import InputError
from lada.core.paths import is_file
from lada.core.registry import Options
from lada.verifiers.base import Asked, Failure
from lada.verifiers.process import WorkerProcess


class FunctionOptions(Options):
    """A function of your own. It runs with your rights in a process of its own, and with limits."""

    kind: Literal["function"] = "function"
    """A function in a Python file."""
    file: str
    """The Python file. A relative path starts at the configuration's folder."""
    function: str = "verify"
    """The function's name: it is given the sample and the text of an answer, and returns a score from 0 to 1."""
    threshold: float = Field(default=1.0, gt=0, le=1)
    """The least score of a right answer."""
    seconds: float = Field(default=10.0, gt=0, le=3600)
    """How long one answer may take."""
    memory_mb: int = Field(default=4096, ge=64, le=2**24)
    """Addresses that the process may have, MiB (on Linux); libraries take many more than they use."""


class FunctionVerifier:
    """Scores by a function of the user's."""

    def __init__(self, options: FunctionOptions, base: Path) -> None:
        """Import the file. Raises InputError where that fails or it has no such function."""
        file = base / options.file
        if file.suffix != ".py" or not is_file(file):
            raise InputError(
                f"task.verifier.file: {str(file)!r} is no Python file that is there; expected the path of a .py file, "
                "relative to the configuration"
            )
        self.threshold = options.threshold
        self.fingerprint = hashlib.sha256(file.read_bytes() + repr(options).encode()).hexdigest()
        self._options = options
        self._worker = WorkerProcess(file.resolve(), options.memory_mb * 2**20)
        self._worker.start()
        if options.function not in self._worker.functions:
            raise InputError(
                f"task.verifier.function: {str(file)!r} has no function {options.function!r}; name one that takes a "
                "sample and a text"
            )

    def scores(self, asked: Iterable[Asked]) -> Iterator[float | Failure]:
        """See Verifier.scores."""
        for each in asked:
            arguments = [asdict(each.sample), each.text]
            yield self._worker.call(self._options.function, arguments, self._options.seconds, score=True)
