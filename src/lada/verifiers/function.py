"""A verifier that is a user's function: `verify(sample, text)` in a Python file."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from lada.core.errors import InputError
from lada.core.paths import is_file
from lada.verifiers.base import Asked, Failure
from lada.verifiers.options import FunctionOptions
from lada.verifiers.process import WorkerProcess


class FunctionVerifier:
    """Scores answers with a user's function."""

    def __init__(self, options: FunctionOptions, base: Path) -> None:
        """Import the file. Raises InputError if that fails or the file has no such function."""
        file = base / options.file
        if file.suffix != ".py" or not is_file(file):
            raise InputError(
                f"task.verifier.file: {str(file)!r} is not an existing Python file; expected the path of a .py file, "
                "relative "
                "to the configuration"
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
