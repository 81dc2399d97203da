"""Damage the files of a killed or finished run, to make a resumed run or a report use wrong data.

Each kind of file that a run writes is cut at its end, has bytes flipped, is emptied, or is gone. Then the run is
resumed, and each command that reads a run looks at it. What counts: the same results to the bit, or one line that names
what is wrong; never a traceback, never other figures without a word.
"""

import contextlib
import io
import json
import os
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import harness
import kills_local

NUMBER, CLIENT = re.compile(r"\d+"), re.compile("clinic|warehouse")
TOLD = ("left out", "unusable", "the ledger lost rows", "cut short")
"""What a notice says about damage with which a run continues."""


def kinds(folder: Path) -> dict[str, Path]:
    """Return one file of each kind in a run's folder."""
    found: dict[str, Path] = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        found.setdefault(kind(file.relative_to(folder)), file.relative_to(folder))
    return found


def kind(file: Path) -> str:
    """Return what a file has in common with others: kinds differ in more than a number, a client or a phase."""
    name = CLIENT.sub("C", NUMBER.sub("N", file.as_posix()))
    room, *rest = name.split("/")
    if room == "checkpoints":
        return f"{room}/{rest[0]}/{'any' if 'before' in rest[0] else rest[1]}"
    if room == "journal":
        what = rest[2] if rest[2] in ("request", "replies", "missing") else "work"
        return f"{room}/{rest[0]}/{rest[-1] if rest[-1] == 'manifest.json' else what}"
    return name


def cut(file: Path, rng: random.Random) -> None:
    """Cut the last third."""
    data = file.read_bytes()
    file.write_bytes(data[: 2 * len(data) // 3])


def flip(file: Path, rng: random.Random) -> None:
    """Change four bytes."""
    data = bytearray(file.read_bytes())
    for _ in range(4 if data else 0):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    file.write_bytes(data)


def empty(file: Path, rng: random.Random) -> None:
    """Leave nothing in it."""
    file.write_bytes(b"")


def remove(file: Path, rng: random.Random) -> None:
    """Remove it."""
    file.unlink()


DAMAGES: tuple[Callable[[Path, random.Random], None], ...] = (cut, flip, empty, remove)


def command(*words: str) -> tuple[int, str]:
    """Call `lada` in this process and return its exit code and what it printed. Another exception passes through."""
    import typer

    from lada.cli import explained
    from lada.cli.main import app
    from lada.core import console

    out = io.StringIO()
    code = 0
    before = console.console.file, explained.errors.file
    console.console.file = explained.errors.file = out
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            app(list(words), standalone_mode=False)
    except typer.Exit as stop:
        code = stop.exit_code
    finally:
        console.console.file, explained.errors.file = before
    return code, out.getvalue()


def looks(folder: Path) -> Iterator[str]:
    """Let every command that reads a run read it, and yield what went wrong. `export` and `chat` begin alike."""
    from lada.core.errors import LadaError
    from lada.export.party import open_party

    try:
        with contextlib.suppress(LadaError):
            open_party(folder, "llm")
    except Exception as error:
        yield f"open_party: {type(error).__name__}: {error}"
    for words in (
        ("report", str(folder)),
        ("watch", str(folder), "--json"),
        ("audit", str(folder)),
        ("track", str(folder), "--to", "tensorboard", "--set", f"folder={folder.parent / 'tracked'}"),
    ):
        try:
            code, text = command(*words)
        except Exception as error:
            yield f"{words[0]}: {type(error).__name__}: {error}"
            continue
        errors = [line for line in text.splitlines() if line.startswith("error: ")]
        if code not in (0, 1, 2) or (code == 2 and len(errors) != 1) or "Traceback" in text:
            yield f"{words[0]}: code {code}: {text[-300:]}"


def figures(results: dict[str, Any]) -> str:
    """Return results without what a run may say about damage."""
    notices = [notice for notice in results["notices"] if not any(word in notice for word in TOLD)]
    return json.dumps({**results, "notices": notices}, sort_keys=True)


def resumed(runs: Path, expected: dict[str, Any]) -> str | None:
    """Resume a run; return what went wrong."""
    from lada.core.errors import LadaError
    from lada.federation import party_cache

    party_cache.forget()
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            kills_local.run(runs)
        found = kills_local.state(runs)
    except LadaError as error:
        return None if "\n" not in str(error) else f"more than a line: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    told = any(word in notice for notice in found["results"]["notices"] for word in TOLD)
    told = told or bool(found["results"]["missing"])
    if not told and figures(found["results"]) != figures(expected["results"]):
        return "other results, and not a word of it"
    differs = [] if told else [key for key in ("weights", "ledger") if found[key] != expected[key]]
    return f"other {differs}, and not a word of it" if differs else None


def killed(runs: Path) -> None:
    """Run in a fork until the first client's reply to the last round's learning is kept, and end it there and then."""
    from lada.federation import checkpoints

    child = os.fork()
    if child == 0:
        save = checkpoints.save

        def crashing(folder: Path, fill: checkpoints.Fill) -> None:
            save(folder, fill)
            if folder.parts[-4:-1] == ("2", "replies", "learn"):
                os._exit(0)

        checkpoints.save = crashing
        with contextlib.redirect_stderr(io.StringIO()):
            kills_local.run(runs)
        os._exit(1)
    if os.waitpid(child, 0)[1]:
        raise RuntimeError("the run was over before it could be killed")


def attack(share: float = 1.0, seed: int = 0) -> harness.Count:
    """Try every kind of file and damage, or a `share` of them."""
    import torch

    torch.set_num_threads(1)
    rng, tried, wrong = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as temporary:
        whole, half = Path(temporary) / "whole", Path(temporary) / "half"
        with contextlib.redirect_stderr(io.StringIO()):
            kills_local.run(whole)
        expected = kills_local.state(whole)
        killed(half)
        copy = Path(temporary) / "copy"
        for name, source in (("finished", whole), ("killed", half)):
            for what, file in kinds(source / "small").items():
                inner = what.startswith(("checkpoints", "journal"))  # a manifest stands for all their files
                for damage in rng.sample(DAMAGES, 1 if inner else len(DAMAGES)):
                    if rng.random() >= share:
                        continue
                    shutil.copytree(source, copy)
                    damage(copy / "small" / file, rng)
                    faults = [] if inner else list(looks(copy / "small"))
                    if fault := resumed(copy, expected):
                        faults.append(f"--resume: {fault}")
                    shutil.rmtree(copy)
                    tried += 1
                    if faults:
                        wrong += 1
                        print(json.dumps([name, what, damage.__name__, faults]), file=sys.stderr, flush=True)
    return harness.Count(tried, wrong, "The run ends with the same results, or a line names the file and the fix.")


if __name__ == "__main__":
    os.chdir(harness.ROOT)
    harness.main(attack)
