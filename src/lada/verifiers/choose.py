"""Which verifier a task has: `task.verifier` in the configuration."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from lada.verifiers.base import Verifier
from lada.verifiers.code import CodeOptions, CodeVerifier
from lada.verifiers.function import FunctionOptions, FunctionVerifier
from lada.verifiers.judge import JudgeOptions, JudgeVerifier
from lada.verifiers.remembered import Remembered

VerifierOptions = Annotated[FunctionOptions | CodeOptions | JudgeOptions, Field(discriminator="kind")]
"""A union told apart by `kind`."""


def make_verifier(options: FunctionOptions | CodeOptions | JudgeOptions | None, base: Path) -> Verifier | None:
    """Return a verifier that is ready; relative paths start at `base`. Raises InputError where it cannot work."""
    match options:
        case None:
            return None
        case FunctionOptions():
            return Remembered(FunctionVerifier(options, base))
        case CodeOptions():
            return Remembered(CodeVerifier(options))
        case JudgeOptions():
            return Remembered(JudgeVerifier(options, base))
