"""What the plans of the examples ask of their models: `python benchmarks/shapes.py` (or `make shapes`).

Writes `src/lada/planning/shipped.json`, by which the first dry run of an example is as quick as a later one. A test
finds everything out again and compares.
"""

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from unittest.mock import patch

from lada.core.results import Record
from lada.planning.compose import plan
from lada.planning.kept import PACKAGES, SHIPPED, digest_of, versions

EXAMPLES = sorted(str(file) for file in files("lada.examples").iterdir() if file.name.endswith(".yaml"))
DTYPES = ("float32", "bfloat16")
"""What `dtype: auto` is on a CPU and on most GPUs."""


def found(examples: Sequence[str], dtypes: Sequence[str] = DTYPES) -> dict[str, dict[str, Any]]:
    """Return what the plans of examples ask, by digest, found out now."""
    known: dict[str, dict[str, Any]] = {}

    def keep(kind: type[Record], depends: Mapping[str, Any], find: Callable[[], Record]) -> Record:
        digest = digest_of(kind, depends)
        if digest not in known:
            known[digest] = find().model_dump(mode="json")
        return kind.model_validate(known[digest])

    with (
        tempfile.TemporaryDirectory() as nothing,
        patch("huggingface_hub.constants.HF_HUB_CACHE", nothing),
        patch("lada.planning.facts.keep", keep),
    ):
        for dtype in dtypes:
            with patch("lada.planning.fit.dtype_name", lambda wish, _, auto=dtype: auto if wish == "auto" else wish):
                for example in examples:
                    plan(Path(example))
    return known


def main() -> None:
    """Find out and write."""
    told = {"versions": versions(PACKAGES), "found": dict(sorted(found(EXAMPLES).items()))}
    Path(str(SHIPPED)).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
