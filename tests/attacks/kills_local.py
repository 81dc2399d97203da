"""Kill a run and its workers with SIGKILL at random moments, to lose or change its messages and work.

Everything is imported once, and each attempt is a fork of this process that a random moment ends. A run is resumed
until its next kill or its end. What counts is the run that nobody killed: results but for times, the weights of all
checkpoints, and the rows of the ledger, of which a resumed run may have some twice.
"""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import harness

sys.path.append(str(harness.ROOT / "tests"))
os.environ.update({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"})
KILLS = 50
LEAST, MOST, PER_RUN = 0.02, 0.4, 10
"""When a kill comes, as shares of the time that a whole run takes, and the kills of one run."""


def config() -> dict[str, Any]:
    """Return two clients and two rounds, seconds of work."""
    from test_resume import config as small

    config = small(workers=0)
    config["task"] |= {"public": 6, "private": 4, "replay": 2}
    return config


def run(runs: Path) -> None:
    """Run in this process, or go on, to the end."""
    import lada

    lada.run(config(), runs=runs, resume=True)


def state(runs: Path) -> dict[str, Any]:
    """Return what two runs must share."""
    from lada.core.results import Results
    from lada.federation import checkpoints
    from lada.federation.ledger import read

    folder = runs / "small"
    results = Results.model_validate_json((folder / "results.json").read_bytes()).model_dump(mode="json")
    for key in ("wall_clock", "traffic", "environment"):
        del results[key]
    weights = {}
    for party in ("llm", *(client["name"] for client in config()["clients"])):
        files = checkpoints.manifest(checkpoints.find(folder / "checkpoints" / party)[0])
        weights[party] = {name: digest for name, digest in files.items() if name.startswith("model/")}
    # A client's report has its times, so that the bytes of those parts differ from run to run.
    crossed = {(row.round, row.phase, row.sender, row.receiver, row.kind, row.samples) for row in read(folder)}
    return {
        "folders": [path.name for path in runs.iterdir()],
        "results": results,
        "weights": weights,
        "ledger": crossed,
    }


def attempt(runs: Path, seconds: float | None) -> bool:
    """Run in a fork that leads a group of its own; kill the group after `seconds`. Return whether it was killed."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        with (runs.parent / "out.log").open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        code = 1
        try:
            run(runs)
            code = 0
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    if seconds is not None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
            time.sleep(0.001)
        else:
            os.kill(child, signal.SIGKILL)
            with suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, -signal.SIGKILL):
        raise RuntimeError(f"a run that was resumed failed: {(runs.parent / 'out.log').read_text()[-2000:]}")
    return code != 0


def attack(kills: int = KILLS, seed: int = 0) -> harness.Count:
    """Kill runs until there were `kills`, and compare each with the whole one."""
    import torch

    torch.set_num_threads(1)
    rng, done, wrong = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as temporary:
        whole = Path(temporary) / "whole" / "runs"
        whole.mkdir(parents=True)
        run(Path(temporary) / "first")  # here, so that a fork finds imported what a run imports on its way
        began = time.monotonic()
        attempt(whole, None)
        takes = time.monotonic() - began
        expected = state(whole)
        number = 0
        while done < kills:
            runs = Path(temporary) / str(number) / "runs"
            runs.mkdir(parents=True)
            number, here = number + 1, 0
            try:
                while here < min(PER_RUN, kills - done):
                    if not attempt(runs, rng.uniform(LEAST, MOST) * takes):
                        break
                    here += 1
                attempt(runs, None)
                found = state(runs)
                differs = [key for key in expected if found[key] != expected[key]]
            except Exception as error:
                differs = [f"{type(error).__name__}: {error}"]
            if differs:
                print(json.dumps({"run": number, "kills": here, "differs": differs}), file=sys.stderr)
                wrong += here or 1
            done += here
            shutil.rmtree(runs.parent)
    outcome = "The resumed run ends with results, weights and a ledger that are identical bit for bit."
    return harness.Count(done, wrong, outcome)


if __name__ == "__main__":
    harness.main(attack)
