"""Makes the verifier of a task from its options."""

from pathlib import Path

from lada.verifiers.base import Verifier
from lada.verifiers.code import CodeVerifier
from lada.verifiers.function import FunctionVerifier
from lada.verifiers.options import CodeOptions, FunctionOptions, JudgeOptions
from lada.verifiers.remembered import Remembered


def make_verifier(options: FunctionOptions | CodeOptions | JudgeOptions | None, base: Path) -> Verifier | None:
    """Return a verifier that is ready to use; relative paths start at `base`. Raises InputError if it cannot work."""
    match options:
        case None:
            return None
        case FunctionOptions():
            return Remembered(FunctionVerifier(options, base))
        case CodeOptions():
            return Remembered(CodeVerifier(options))
        case JudgeOptions():
            from lada.verifiers.judge import JudgeVerifier  # here, since it imports models

            return Remembered(JudgeVerifier(options, base))
