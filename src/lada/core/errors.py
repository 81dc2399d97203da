"""Error messages for users: each names the key, the value, what was expected and the fix."""

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

LOST = 3
"""Exit code of a command whose run finished without some of its parties."""


class LadaError(Exception):
    """A refusal or failure that a user can act on. The command line exits with `exit_code`."""

    exit_code = 1


class InputError(LadaError):
    """The configuration or the data is wrong; found before anything is trained. Exit code 2."""

    exit_code = 2


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the known name closest to `name`, or `""` if none is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


@contextmanager
def of_party(owner: str) -> Iterator[None]:
    """Prefix an InputError with the key of the party that it is about, such as `clients.clinic`."""
    try:
        yield
    except InputError as error:
        key = "." if str(error).startswith("model") else ": "  # most begin with the key of what is wrong
        raise InputError(f"{owner}{key}{error}") from error


@contextmanager
def of_method(kind: str, name: str, *, unless: Callable[[BaseException], bool] = lambda _: False) -> Iterator[None]:
    """Turn an unexpected error in a method, such as a plug-in's KeyError, into an InputError that names the method.

    Errors for which `unless` holds, such as a lack of memory that a caller handles, stay as they are.
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
    """A study that taught a model nothing useful: too many steps skipped, or nothing to read."""


class FederationError(LadaError):
    """A client failed or stayed silent. Results so far are kept in the run folder."""


class CodecError(LadaError):
    """Bytes that a codec did not write, or values that it cannot write. No part of them is used."""
