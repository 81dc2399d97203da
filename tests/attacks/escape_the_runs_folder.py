"""Choose the name of a run or a client to write files outside the run's folder."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import harness
import yaml
from pydantic import ValidationError
from tiny_run import tiny

import lada
from lada.config import make_config
from lada.core.errors import LadaError
from lada.engines.client_file import ClientFile
from lada.engines.setup import init
from lada.engines.worker import RunOfClient

NAMES = (
    *("..", "../victim", "../../victim", "/tmp/victim", "a/../../victim", "..\\victim", "C:victim", ".hidden", "-rf"),
    *("a/b", "a\x00b", "a\nb", "con", "NUL", "com1", "a.", "a ", "\u202egod", "сlinic", "cafe\u0301", "n" * 300, ""),
)
"""Up and out, absolute, NUL, options, devices, look-alikes, too long, nothing."""


def attack() -> harness.Count:
    """Try each name as that of a run, a server, a client, a federation's client and a run of a far server."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        inside = folder / "inside" / "runs"
        inside.mkdir(parents=True)
        attempts: list[Callable[[], object]] = []
        for name in NAMES:
            attempts += [
                lambda name=name: lada.run(tiny(rounds=0), runs=inside, name=name),
                lambda name=name: lada.run(tiny(rounds=0, name=name), runs=inside),
                lambda name=name: make_config(_named(server=name)),
                lambda name=name: make_config(_named(client=name)),
                lambda name=name: RunOfClient(_client(name=name), inside, "run-1"),
                lambda name=name: RunOfClient(_client(), inside, name),
                lambda name=name: init(_file(folder, _named(client=name)), inside / "fed"),
            ]
        attempts += [lambda: make_config(_named(server="CLINIC")), lambda: make_config(_named(client="WAREHOUSE"))]
        attempts += [lambda: RunOfClient(_client(), inside, "logs"), lambda: _through_a_link(folder, inside)]
        before = _there(folder)
        got_in = 0
        for each in attempts:
            got_in += not _refused(each) or _there(folder) != before
            before = _there(folder)
        return harness.Count(len(attempts), got_in, "The name is refused before anything is written.")


def _refused(attempt: Callable[[], object]) -> bool:
    """Return whether an attempt is refused in words; one that breaks on the way was let in."""
    try:
        attempt()
    except (LadaError, ValidationError):
        return True
    except Exception:
        return False
    return False


def _named(server: str = "llm", client: str = "clinic") -> dict:
    data = tiny(rounds=0)
    data["server"] |= {"name": server}
    data["clients"][1] |= {"name": client}
    return data


def _client(name: str = "clinic") -> ClientFile:
    file = {"name": name, "superlink": "h:1", "model": {"model": "m"}, "task": {"kind": "rulebooks"}}
    return ClientFile.model_validate(file)


def _file(folder: Path, data: dict) -> Path:
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(data), encoding="utf-8")
    return file


def _through_a_link(folder: Path, runs: Path) -> None:
    """Resume a run whose folder is a link to a place outside."""
    lada.run(tiny(rounds=0), runs=folder / "elsewhere")
    (runs / "tiny").symlink_to(folder / "elsewhere" / "tiny")
    try:
        lada.run(tiny(rounds=0), runs=runs, resume=True)
    finally:
        (runs / "tiny").unlink()


def _there(folder: Path) -> set[str]:
    """Return the files that exist, except the two that the attack itself writes."""
    paths = (path.relative_to(folder) for path in folder.rglob("*"))
    return {str(path) for path in paths if path.parts[0] not in ("run.yaml", "elsewhere")}


if __name__ == "__main__":
    harness.main(attack)
