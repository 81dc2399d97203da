"""Files for a container image: constraints from the packages installed here, and a lock with the digest of every
wheel."""

import hashlib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from lada.core.distribution import DISTRIBUTION
from lada.core.errors import InputError

WHEELS, LOCK, CONSTRAINTS = "wheels", "requirements.lock", "constraints.txt"


def constraints() -> str:
    """Return the installed versions of LaDa and its dependencies, one `name==version` per line.

    A version's local part, such as `+cpu`, names a build and is omitted: another machine may have another build.
    """
    found: dict[str, str] = {}
    left = [DISTRIBUTION]
    while left:
        name = canonicalize_name(left.pop())
        if name in found:
            continue
        try:
            installed = distribution(name)
        except PackageNotFoundError:  # for another system, or an extra that is not installed
            continue
        found[name] = Version(installed.version).public
        needs = map(Requirement, installed.requires or ())
        left += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return "".join(f"{name}=={found[name]}\n" for name in sorted(found))


def lock(folder: Path) -> int:
    """Write `requirements.lock` for the wheels in a federation's folder and return their number.

    Each line has a wheel's name, version and SHA-256, so that `pip install --require-hashes` accepts only these files.
    Raises InputError if there is no wheel, or a file that is not one.
    """
    wheels = folder / WHEELS
    digests: dict[str, set[str]] = {}
    for file in sorted(wheels.glob("*")):
        try:
            name, version, *_ = parse_wheel_filename(file.name)
        except InvalidWheelFilename:
            raise InputError(
                f"{WHEELS}: {file.name!r} is not a wheel, and only wheels install without running code; remove it, "
                "or build a wheel of it: pip wheel --no-deps"
            ) from None
        with file.open("rb") as data:
            digest = hashlib.file_digest(data, "sha256").hexdigest()
        digests.setdefault(f"{name}=={version}", set()).add(digest)
    if not any(line.startswith(f"{DISTRIBUTION}==") for line in digests):
        raise InputError(
            f"{WHEELS}: {str(wheels)!r} has no wheel of {DISTRIBUTION}; the Dockerfile next to it says how to fill "
            "that folder"
        )
    lines = (f"{line} {' '.join(f'--hash=sha256:{one}' for one in sorted(digests[line]))}" for line in sorted(digests))
    (folder / LOCK).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return sum(map(len, digests.values()))
