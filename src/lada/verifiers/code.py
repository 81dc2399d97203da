"""A verifier that runs the program in an answer against the tests of its sample, in a sandbox."""

import ast
import secrets
import warnings
from collections.abc import Iterable, Iterator

from lada.core.thinking import conclusion
from lada.verifiers.base import Asked, Failure
from lada.verifiers.fences import fenced
from lada.verifiers.options import CodeOptions
from lada.verifiers.sandbox import SandboxKind, choose, run

LABELS = {"python", "python3", "py", "py3"}
SCANNED = 100_000
"""How many characters of a text are read, from its end."""


class CodeVerifier:
    """Scores 1 or 0, by tests that run after the program."""

    threshold = 1.0

    def __init__(self, options: CodeOptions) -> None:
        """Try the sandbox. Raises InputError if none works."""
        self._kind: SandboxKind = choose(options.sandbox)
        self._options = options
        self.fingerprint = f"code {options.seconds} {options.memory_mb}"

    def scores(self, asked: Iterable[Asked]) -> Iterator[float | Failure]:
        """See Verifier.scores. A program that raises, crashes, or ends before its tests do scores 0.

        So does any program whose entry holds no test.
        """
        for each in asked:
            if not has_tests(each.sample.entry):
                yield 0.0
                continue
            # A program prints this only if it passes the tests, or if it reads its own source.
            word = secrets.token_hex(16)
            source = f"{program_of(each.text)}\n\n{each.sample.entry or ''}\n\nprint({word!r}, flush=True)\n"
            printed = run(source, self._kind, seconds=self._options.seconds, memory=self._options.memory_mb * 2**20)
            if isinstance(printed, Failure):
                yield printed if printed.reason.startswith(("took", "printed", "could")) else 0.0
            else:
                yield float(printed.endswith(f"{word}\n"))


def program_of(text: str) -> str:
    """Return the program in a text: the last fenced block that is labelled as Python, else the last without a label.

    Without a block, the program is the whole text. Thinking is ignored.
    """
    text = conclusion(text)[-SCANNED:]
    blocks = fenced(text)
    labelled = [block.body for block in blocks if block.label in LABELS]
    programs = labelled or [block.body for block in blocks if not block.label]
    return programs[-1] if programs else text


def has_tests(entry: str | None) -> bool:
    """Return whether an entry can fail: whether a statement that it runs asserts, raises or calls something.

    Imports and definitions alone test nothing, and neither does text that is not Python.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            statements = ast.parse(entry or "").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    definitions = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    run = (node for statement in statements if not isinstance(statement, definitions) for node in ast.walk(statement))
    return any(isinstance(node, (ast.Assert, ast.Raise, ast.Call)) for node in run)
