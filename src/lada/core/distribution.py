"""The distribution that installs LaDa. Its name differs from the package's: `lada` on the index is another project."""

from importlib.metadata import version

DISTRIBUTION = "lada-fed"


def lada_version() -> str:
    """Return the installed version of LaDa."""
    return version(DISTRIBUTION)


def install_command(extra: str = "") -> str:
    """Return the command that installs LaDa with one of its extras, or without any."""
    return f"pip install '{DISTRIBUTION}[{extra}]'" if extra else f"pip install {DISTRIBUTION}"
