"""A model's shape from its config.json only: without reading weights or using the network."""

import json
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path as FilePath
from typing import Any

from lada.core.errors import InputError
from lada.core.hub import reason
from lada.core.paths import is_file, is_folder


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's configuration and its folder; None for one of the few configurations that LaDa ships for its
    examples."""

    config: Any
    folder: FilePath | None

    @property
    def source(self) -> str:
        """The origin of the shape, for users."""
        return "from a shipped shape" if self.folder is None else "from its config.json"


def local_folder(model: str, revision: str | None = None) -> FilePath | None:
    """Return the local folder with the config.json of a folder or hub id; None for an id without a local one.

    Raises InputError for a folder without config.json, or if the name is neither a folder nor an id.
    """
    if is_folder(model):
        if not is_file(FilePath(model) / "config.json"):
            raise InputError(f"model: folder {model!r} has no config.json; expected a model in Hugging Face format")
        return FilePath(model)
    from huggingface_hub import try_to_load_from_cache  # here, since most calls are for folders
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(model)
    except HFValidationError:
        raise InputError(f"model: there is no folder {model!r}; expected a folder, a hub id, or zoo:NAME") from None
    found = try_to_load_from_cache(model, "config.json", revision=revision)
    return FilePath(found).parent if isinstance(found, str) else None


def shipped_config(model: str) -> Traversable:
    """Return the path at which the config.json of a hub model would be if LaDa shipped it."""
    return files("lada.examples") / "configs" / f"{model.replace('/', '--')}.json"


def read_shape(model: str, revision: str | None = None) -> Shape | None:
    """Return the shape of a folder or hub id: from the folder, the hub's cache, or the shipped configurations.

    None for an id that is unknown on this machine. Raises InputError as `local_folder` does, and for a config.json that
    transformers cannot read.
    """
    from transformers import AutoConfig

    folder = local_folder(model, revision)
    if folder is None:
        shipped = shipped_config(model)
        if not shipped.is_file():
            return None
        values = json.loads(shipped.read_text(encoding="utf-8"))
        return Shape(AutoConfig.for_model(values.pop("model_type"), **values), None)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # each architecture checks its values in its own way
        raise InputError(
            f"model: cannot read the config.json of {model!r}: {reason(error)}; expected an "
            "architecture that transformers knows"
        ) from error
    return Shape(config, folder)
