"""Finds the shipped models."""

import json
from pathlib import Path
from typing import Any

from lada.core.errors import InputError, nearest
from lada.core.paths import is_file

SHIPPED = Path(__file__).parent / "models"
PREFIX = "zoo:"


def cards(folder: Path = SHIPPED) -> list[dict[str, Any]]:
    """Return the cards of all models in `folder`, by name."""
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*/card.json"))]


def locate(model: str, folders: tuple[Path, ...] = (SHIPPED, Path("zoo"))) -> str:
    """Return the folder of a `zoo:NAME` model; any other model name is returned unchanged.

    `zoo/` in the working directory holds models that `lada zoo build` made there. Raises InputError for a missing
    model.
    """
    if not model.startswith(PREFIX):
        return model
    name = model.removeprefix(PREFIX)
    for folder in folders:
        if is_file(folder / name / "card.json"):
            return str(folder / name)
    known = [card["name"] for folder in folders for card in cards(folder)]
    raise InputError(
        f"model: no shipped model is named {name!r}; expected one of {', '.join(known)}{nearest(name, known)}; "
        "`lada zoo build` trains others, such as llm-world-1"
    )
