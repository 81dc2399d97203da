"""Suites in files, outcomes that nobody ran, and the script that makes their tables again."""

import runpy
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import yaml

from lada.bench.cell import CellKey
from lada.bench.outcome import Outcome

WORK = {
    "rounds": 1,
    "task": {"public": 12, "private": 12, "test_per_domain": 2, "replay": 4},
    "server": {"model": {"model": "zoo:slm-gpt2", "max_new_tokens": 24}, "distil": {"steps": 1}},
    "clients": [
        {"name": "warehouse", "domains": ["warehouse"], "model": {"model": "zoo:slm-llama-small", "max_new_tokens": 24}}
    ],
}
SUITE = {
    "name": "tiny",
    "about": "Two rows.",
    "seeds": [0],
    "each_client": {"private": {"steps": 1}, "distil": {"steps": 1}},
    "scenarios": {"alone": {"about": "One client.", "config": WORK}},
    "rows": {
        "lada": {"about": "Ours.", "config": {"plugin": "lada"}},
        "standalone": {"config": {"host": "standalone", "plugin": "none"}},
    },
    "tables": [{"title": "Methods", "rows": ["lada"], "against": "standalone"}],
}


def suite_file(folder: Path, **changes) -> str:
    file = folder / "suite.yaml"
    file.write_text(yaml.safe_dump(SUITE | changes, sort_keys=False))
    return str(file)


def made(row: str, seed: int, right: str, scenario="a", tokens=100, **more) -> Outcome:
    """An outcome of four questions and two clients that answer alike; `right` as 0s and 1s."""
    member = {
        "model": "m",
        "before": dict.fromkeys(("overall", "own", "other", "general"), 0.0),
        "after": dict.fromkeys(("overall", "own", "other", "general"), 100 * right.count("1") / 4),
        "calibration_error": 0.1,
        "agreement": None,
        "step_validity": None,
        "distinct_2": 0.5,
        "tokens": tokens,
        "trial_tokens": 0,
        "lessons": 4,
        "updates": 2,
        "judged": 8,
        "right": f"{int(right, 2) << 4:02x}",
    }
    parties = {name: member | {"role": "client"} for name in ("x", "y")} | {"llm": member | {"role": "server"}}
    environment = {
        "lada": "0",
        "git": None,
        "python": "3",
        "packages": {"torch": "2", "transformers": "5"},
        "device": "cpu",
    }
    return Outcome.model_validate(
        {
            "scenario": scenario,
            "row": row,
            "world": 0,
            "seed": seed,
            "track": "",
            "budget": 1.0,
            "setting": "",
            "digest": f"{scenario} {row} {seed} {sorted(map(str, more.items()))}",
            "suite": "",
            "hypotheses": (),
            "questions": 4,
            "members": parties,
            "bytes": 2_000_000,
            "from_teacher": 0,
            "chosen_right": None,
            "chosen_sound": None,
            "notices": 0,
            "environment": environment,
            "wall_clock": {"seconds": 1.0, "peak_memory": 0},
            **more,
        }
    )


def right(share: int) -> str:
    """The verdicts of who answers so many of the four questions right."""
    return "1" * share + "0" * (4 - share)


def of(key: CellKey, verdicts: str, **more) -> Outcome:
    """An outcome of a cell of a suite."""
    keys = {"world": key.world, "track": key.track, "budget": key.budget, "setting": key.setting}
    return made(key.row, key.seed, verdicts, key.scenario, **keys, **more)


def recompute(folder: Path) -> tuple[int, str]:
    """Return with which code `python results/recompute.py FOLDER` ends, and what it prints."""
    script, said, code = Path(__file__).parents[2] / "results/recompute.py", StringIO(), 0
    with patch("sys.argv", [str(script), str(folder)]), redirect_stdout(said):
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as end:
            code = int(end.code or 0)
    return code, said.getvalue()
