"""Errors meant for people: each names the key, the value, what was expected and the fix."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

LOST = 3
"""What a command ends with whose run came to its end without somebody who should have been there."""


class LadaError(Exception):
    """Anything LaDa refuses or fails at in a way a user can act on. The command line exits with `exit_code`."""

    exit_code = 1


class InputError(LadaError):
    """The configuration or the data is wrong; found before anything is trained. Exit code 2."""

    exit_code = 2


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the known name closest to `name`, or `""` where none is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


@contextmanager
def of_party(owner: str) -> Iterator[None]:
    """Let an InputError begin with the key of a party, such as `clients.clinic`, that it is about."""
    try:
        yield
    except InputError as error:
        key = "." if str(error).startswith("model") else ": "  # most begin with the key of what is wrong
        raise InputError(f"{owner}{key}{error}") from error


@contextmanager
def of_method(kind: str, name: str, *, unless: Callable[[BaseException], bool] = lambda _: False) -> Iterator[None]:
    """Let what nobody foresaw in a method, such as a plug-in's KeyError, become an InputError that names the method.

    What is `unless`, such as a lack of memory that somebody further up deals with, stays as it is.
    """
    try:
        yield
    except LadaError:
        raise
    except Exception as error:
        if unless(error):
            raise
        told = " ".join(str(error).split())
        raise InputError(
            f"{kind} {name!r}: it failed with {type(error).__name__}{told and f': {told}'}; fix the method, or choose "
            "another one"
        ) from error


class StudyError(LadaError):
    """A study from which a model learnt nothing that it should have: too many steps skipped, or nothing to read."""


class FederationError(LadaError):
    """A client failed or stayed silent; what was computed before is kept in the run folder."""


class CodecError(LadaError):
    """Bytes that are not what a codec writes, or values that it cannot write. Nothing of them is used."""
