"""Names of runs and parties. They become folder names, so none may lead elsewhere or be ambiguous."""

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, Field

from lada.core.errors import InputError

PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
LONGEST = 100
"""Characters. With prefixes and suffixes, a name stays within the 255 bytes of a file name."""
DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})
"""Names that Windows reserves for devices, in any folder and case."""
EXPECTED = f"1 to {LONGEST} letters A to Z, digits, - and _, starting with a letter or digit"


def fault(name: str) -> str | None:
    """Return what is wrong with a name; None if it is valid."""
    if not re.fullmatch(PATTERN, name) or len(name) > LONGEST:
        shown = name if len(name) <= LONGEST else f"{name[:20]}…"
        return f"{shown!r} cannot be the name of a folder; expected {EXPECTED}"
    if name.lower() in DEVICES:
        return f"{name!r} is a device's name on Windows; choose another, such as '{name}-1'"
    return None


def check_name(key: str, name: str) -> str:
    """Return a valid folder name. Raises InputError, naming the key, for any other."""
    if told := fault(name):
        raise InputError(f"{key}: {told}")
    return name


def same_folder(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the first two names that differ only in case; None if there are none."""
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.setdefault(name.lower(), name)) is not name:
            return other, name
    return None


def _validated(name: str) -> str:
    if told := fault(name):
        raise ValueError(told)
    return name


Name = Annotated[str, Field(pattern=PATTERN, max_length=LONGEST), AfterValidator(_validated)]
"""The name of a run or a party, as a field of options."""
