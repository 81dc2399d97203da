"""Whether the files of a model's folder are all there and whole, by their first bytes and their headers alone."""

import json
from pathlib import Path as FilePath
from typing import Any

from safetensors import SafetensorError, safe_open

from lada.core.errors import InputError
from lada.core.hub import reason
from lada.models.hub import EXPECTED

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
OBJECTS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    ADAPTER,
)
"""Files that hold a JSON object, each where it is there."""
OTHERS = ("tokenizer.model", "spiece.model", "merges.txt", "vocab.txt", "chat_template.jinja", "tekken.json")
POINTER = b"version https://git-lfs.github.com/spec/"
"""What a file begins with that Git LFS left in the place of a large one."""
AGAIN = "fetch it again, as with `hf download`, or save the model anew"


def check_files(source: str) -> None:
    """Raise InputError for a file of a folder that is missing, cut short or a mere pointer, naming it and what to do.

    Of models on the hub nothing is said.
    """
    folder = FilePath(source)
    if not folder.is_dir():
        return
    for name in OBJECTS:
        if (folder / name).is_file():
            _object(folder / name)
    for name in OTHERS:
        if (folder / name).is_file():
            _check_no_pointer(folder / name)
    for file in _weights(folder):
        _check_no_pointer(file)
        try:
            with safe_open(str(file), framework="pt"):
                pass
        except (OSError, SafetensorError) as error:
            raise _fault(file, f"is missing, cut short or damaged ({reason(error)}); {AGAIN}") from error


def _weights(folder: FilePath) -> list[FilePath]:
    """Return the files of weights that transformers would read."""
    if (folder / WEIGHTS).exists():  # which goes before an index
        return [folder / WEIGHTS]
    if (folder / INDEX).exists():
        parts = _parts(folder / INDEX)
        if missing := [part for part in parts if not (folder / part).is_file()]:
            raise _fault(folder / missing[0], f"is missing, which {INDEX} names; {AGAIN}")
        return [folder / part for part in parts]
    if (folder / ADAPTER).exists():  # the other weights are those of the model that the adapter is for
        return [folder / ADAPTER_WEIGHTS]
    raise InputError(f"model: cannot load {str(folder)!r}: there is no {WEIGHTS} in it; {EXPECTED}")


def _parts(index: FilePath) -> list[str]:
    """Return the files that an index names, sorted."""
    parts = _object(index).get("weight_map")
    if not (isinstance(parts, dict) and parts and all(isinstance(part, str) and part for part in parts.values())):
        raise _fault(index, f"has no weight_map of weights to files; {AGAIN}")
    if outside := [part for part in parts.values() if FilePath(part).name != part]:
        raise _fault(index, f"names {outside[0]!r}, which is no file of its folder; {AGAIN}")
    return sorted(set(parts.values()))


def _object(file: FilePath) -> dict[str, Any]:
    _check_no_pointer(file)
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _fault(file, f"is cut short or damaged ({reason(error)}); {AGAIN}") from error
    if not isinstance(found, dict):
        raise _fault(file, f"holds no JSON object; {AGAIN}")
    return found


def _check_no_pointer(file: FilePath) -> None:
    if not file.is_file():
        return
    with file.open("rb") as data:
        if data.read(len(POINTER)) == POINTER:
            raise _fault(
                file,
                "is a pointer of Git LFS and not the file itself; run `git lfs pull` in its folder, or fetch the model "
                "with `hf download`",
            )


def _fault(file: FilePath, what: str) -> InputError:
    return InputError(f"model: cannot load {str(file.parent)!r}: {file.name} {what}")
