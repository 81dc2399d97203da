"""How exposed a planted secret is in each party's final model (Carlini et al. 2019, arXiv 1802.08232).

    exposure = log2 R - log2 rank

The rank is that of the true secret among R candidates of the same form, the likeliest first; equally likely ones share
their mean rank. A secret that the model has not learnt has about 1 bit in the median; the most is log2 R.
"""

import json
import string
from collections.abc import Callable, Sequence
from math import log2, prod
from pathlib import Path

import numpy as np
from pydantic import ConfigDict, Field, ValidationError, field_validator

from lada.audit.verdict import Exposure
from lada.config import RunConfig
from lada.core.errors import InputError
from lada.core.registry import Options
from lada.core.seeds import generator
from lada.federation.parties import Place, client_party, let_go, read_task, server_party

CANDIDATES = 1024
"""R, the candidates with the true secret among them: at most 10 bits of exposure."""
ALPHABETS = (string.digits, string.ascii_lowercase, string.ascii_uppercase)
MOST_ROWS = 1000
"""Secrets in one file."""
Losses = Callable[[Sequence[tuple[str, str]]], np.ndarray]
"""Returns the loss of each (question, text), nats."""


class Secret(Options):
    """A question, and a text with a secret in braces, such as `the code is {4711}`."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    question: str = Field(max_length=10_000)
    text: str = Field(max_length=10_000)

    @field_validator("text")
    @classmethod
    def _has_a_secret(cls, text: str) -> str:
        before, opened, rest = text.partition("{")
        inside, closed, after = rest.partition("}")
        if not (opened and closed) or "{" in inside + after or "}" in before + after:
            raise ValueError("it has no secret in braces, or several; expected one, such as {4711}")
        if prod(len(_alphabet(character)) for character in inside) < CANDIDATES:
            raise ValueError(
                f"fewer than {CANDIDATES} secrets have the form of its own; expected four digits, three letters or more"
            )
        return text

    def candidates(self, rng: np.random.Generator) -> list[str]:
        """Return R texts, the first with the true secret, the others with secrets of the same form."""
        before, _, rest = self.text.partition("{")
        secret, _, after = rest.partition("}")
        drawn = {secret: None}
        while len(drawn) < CANDIDATES:
            drawn["".join(str(rng.choice(list(_alphabet(each)))) for each in secret)] = None
        return [f"{before}{each}{after}" for each in drawn]


def _alphabet(character: str) -> str:
    return next((each for each in ALPHABETS if character in each), character)


def exposure(losses: np.ndarray) -> tuple[float, float]:
    """Return the rank of the first of R losses (NaN counts as infinite), and the exposure in bits."""
    losses = np.nan_to_num(losses, nan=np.inf)
    rank = 1 + float((losses[1:] < losses[0]).sum()) + float((losses[1:] == losses[0]).sum()) / 2
    return rank, log2(len(losses)) - log2(rank)


def read_secrets(file: Path) -> list[Secret]:
    """Return the secrets of a JSON Lines file. Raises InputError, without repeating them, for another file."""
    try:
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"--exposure {str(file)!r}: {type(error).__name__}; expected JSON Lines in UTF-8 with question and text"
        ) from None
    if not 1 <= len(lines) <= MOST_ROWS:
        raise InputError(f"--exposure {str(file)!r}: it has {len(lines)} lines; expected 1 to {MOST_ROWS}")
    return [_read(file, number, line) for number, line in enumerate(lines, 1)]


def _read(file: Path, number: int, line: str) -> Secret:
    try:
        return Secret.model_validate(json.loads(line))
    except ValidationError as error:
        why = error.errors(include_input=False, include_url=False)[0]
        told = f"{'.'.join(map(str, why['loc']))}: {why['msg'].removeprefix('Value error, ')}"
    except (ValueError, RecursionError):
        told = 'it is no JSON; expected {"question": "…", "text": "the code is {4711}"}'
    raise InputError(f"--exposure {str(file)!r}, line {number}: {told}") from None


def measure(secrets: Sequence[Secret], party: str, seed: int, losses: Losses) -> list[Exposure]:
    """Return how exposed each secret is in one party's model."""
    found = []
    for number, secret in enumerate(secrets, 1):
        texts = secret.candidates(generator(seed, "exposure", number))
        rank, bits = exposure(losses([(secret.question, text) for text in texts]))
        found.append(Exposure(party=party, secret=f"secret {number}", rank=rank, candidates=CANDIDATES, bits=bits))
    return found


def exposures(config: RunConfig, place: Place, file: Path) -> tuple[Exposure, ...]:
    """Return how exposed the secrets in a file are in the last models of the server and of all clients.

    An LLM behind an API is left out. Raises InputError if data or models are not on this machine.
    """
    secrets, task = read_secrets(file), read_task(config, place.base)
    names = [] if config.server.model.remote else [config.server.name]
    names += sorted(client.name for client in config.clients)
    found: list[Exposure] = []
    for name in names:
        server = name == config.server.name
        party = (
            server_party(config, place, task, _silent) if server else client_party(config, place, task, _silent, name)
        )
        try:

            def losses(pairs: Sequence[tuple[str, str]], judge=party.learner.judge) -> np.ndarray:
                return np.array([-likelihood.total for likelihood in judge(pairs)])

            found += measure(secrets, name, config.seed, losses)
        finally:
            let_go(party)
    return tuple(found)


def _silent(event: object) -> None:
    """Report nothing."""
