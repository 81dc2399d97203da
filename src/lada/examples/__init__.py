"""Configurations that are shipped with LaDa."""

from contextlib import AbstractContextManager
from importlib.resources import as_file, files
from pathlib import Path


def texts() -> dict[str, str]:
    """Return the text of each shipped configuration by name, sorted."""
    found = (file for file in files(__name__).iterdir() if file.name.endswith(".yaml"))
    return {file.name.removesuffix(".yaml"): file.read_text(encoding="utf-8") for file in sorted(found, key=str)}


def demo() -> AbstractContextManager[Path]:
    """Give the demo's configuration as a file, for as long as the context lasts."""
    return as_file(files(__name__) / "demo.yaml")
