"""Whether the files of a model's folder are all there and whole, by their first bytes and their headers alone."""

import json
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Mapping, Set
from operator import itemgetter
from os.path import lexists
from pathlib import Path as FilePath
from typing import Any

from safetensors import SafetensorError, safe_open

from lada.core.errors import InputError
from lada.core.hub import reason
from lada.core.paths import is_file, is_folder
from lada.core.plural import counted

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SUFFIX = ".safetensors"
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
EXPECTED = (
    "expected a folder with config.json, model.safetensors (pickled weights are not read) and tokenizer, a hub id, or "
    "zoo:NAME"
)
AGAIN = "fetch it again, as with `hf download`, or save the model again"


def check_files(source: str) -> None:
    """Raise InputError for a file of a folder that is missing, cut short or a mere pointer, naming it and what to do.

    The weights are held against the headers of their files. Of models on the hub nothing is said.
    """
    folder = FilePath(source)
    if not is_folder(folder):
        return
    for name in OBJECTS:
        if lexists(folder / name):
            _object(folder / name)
    for name in OTHERS:
        if lexists(folder / name):
            _check_is_file(folder / name)
    for name, wanted in weight_files(folder).items():
        _check_weights(folder / name, wanted)


def weight_files(folder: FilePath) -> Mapping[str, Set[str]]:
    """Return the files of weights that transformers would read, with the weights that an index says are in them."""
    if lexists(folder / WEIGHTS):  # which goes before an index
        return {WEIGHTS: set()}
    if lexists(folder / INDEX):
        return _parts(folder / INDEX)
    if lexists(folder / ADAPTER):  # the other weights are those of the model that the adapter is for
        return {ADAPTER_WEIGHTS: set()}
    raise InputError(f"model: cannot load {str(folder)!r}: there is no {WEIGHTS} in it; {EXPECTED}")


def _parts(index: FilePath) -> dict[str, set[str]]:
    """Return the weights that an index says are in a file, by file, sorted."""
    told = _object(index)
    if not isinstance(told.get("metadata"), dict):
        raise _fault(index, f"has no metadata, without which transformers does not read it; {AGAIN}")
    parts = told.get("weight_map")
    if not (isinstance(parts, dict) and parts and all(isinstance(part, str) and part for part in parts.values())):
        raise _fault(index, f"has no weight_map of weights to files; {AGAIN}")
    found: dict[str, set[str]] = {}
    for weight, part in sorted(parts.items(), key=itemgetter(1)):
        if FilePath(part).name != part:
            raise _fault(index, f"names {part!r}, which is not a file in its folder; {AGAIN}")
        if not part.endswith(SUFFIX):
            raise _fault(index, f"names {part!r} for {weight!r}; expected a {SUFFIX} file, since no other is read")
        if not is_file(index.parent / part):
            raise _fault(index.parent / part, f"is missing or not a file, but {INDEX} names it; {AGAIN}")
        found.setdefault(part, set()).add(weight)
    return found


def _check_weights(file: FilePath, wanted: Set[str]) -> None:
    """Raise InputError unless a file of safetensors is whole and has weights, those that are wanted among them."""
    if lexists(file):
        _check_is_file(file)
    try:
        with safe_open(str(file), framework="np") as weights:  # whose import is quicker than PyTorch's
            there = set(weights.keys())
    except (OSError, SafetensorError) as error:
        raise _fault(file, f"is missing, cut short or damaged ({reason(error)}); {AGAIN}") from error
    if not there:
        raise _fault(file, f"holds no weights; {AGAIN}")
    if lacking := sorted(wanted - there):
        more = f" and {counted(len(lacking) - 1, 'other')}" if lacking[1:] else ""
        raise _fault(file, f"lacks {lacking[0]!r}{more}, which {INDEX} says it has; {AGAIN}")


def _object(file: FilePath) -> dict[str, Any]:
    _check_is_file(file)
    try:
        data = file.read_bytes()
        if data.startswith((BOM_UTF8, BOM_UTF16_LE, BOM_UTF16_BE)):  # json reads what transformers does not
            raise _fault(file, "begins with a byte order mark (BOM); save it as UTF-8 without one")
        found = json.loads(data.decode())
    except (OSError, ValueError, RecursionError) as error:
        raise _fault(file, f"is cut short or damaged ({reason(error)}); {AGAIN}") from error
    if not isinstance(found, dict):
        raise _fault(file, f"does not hold a JSON object; {AGAIN}")
    return found


def _check_is_file(file: FilePath) -> None:
    """Raise InputError for what is no regular file, which may never end, and for a pointer of Git LFS."""
    if not is_file(file):
        raise _fault(file, f"is not a regular file but a folder, a pipe or a broken link; {AGAIN}")
    with file.open("rb") as data:
        if data.read(len(POINTER)) == POINTER:
            raise _fault(
                file,
                "is a Git LFS pointer, not the file itself; run `git lfs pull` in its folder, or fetch the model "
                "with `hf download`",
            )


def _fault(file: FilePath, what: str) -> InputError:
    return InputError(f"model: cannot load {str(file.parent)!r}: {file.name} {what}")
