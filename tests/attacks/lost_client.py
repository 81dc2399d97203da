"""A client that is broken or dies tries to make its run look as if all clients had taken part."""

import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import harness
import yaml
from dying import dying
from safetensors.torch import load_file, save_file
from tiny_run import tiny
from typer.testing import CliRunner

from lada.cli.main import app
from lada.federation import party_cache
from lada.zoo.shipped import locate

STANDALONE = {"host": "standalone", "plugin": "none", "rounds": 2}


class Attempt:
    """Runs of the command in a folder, and what they should have come to and did not."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.tried = folder, 0
        self.wrong: list[str] = []

    def run(self, name: str, data: dict[str, Any], code: int, *said: str, more: tuple[str, ...] = ()) -> None:
        """Run a configuration; it has to end with `code` and to have said some texts, in one line each."""
        party_cache.forget()
        file = self.folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump(data), encoding="utf-8")
        arguments = ["run", str(file), "--name", name, "--runs", str(self.folder / "runs"), *more]
        done = CliRunner().invoke(app, arguments)
        self.tried += 1
        if done.exit_code != code or not all(text in done.output for text in said):
            self.wrong.append(f"{name}: {done.exit_code}, expected {code} and {said}: {done.output[-800:]}")


def broken_model(folder: Path, change: Callable[[Path], object]) -> dict[str, Any]:
    """Return a run in which the model of the client `clinic` is a folder that was changed."""
    model = folder / "model"
    shutil.rmtree(model, ignore_errors=True)
    shutil.copytree(locate("zoo:slm-olmo2"), model)
    change(model)
    data = tiny()
    data["clients"][1]["model"]["model"] = str(model)
    return data


def without_a_weight(model: Path) -> None:
    """Leave out one tensor, which only loading the whole model shows."""
    weights = load_file(model / "model.safetensors")
    del weights[sorted(weights)[0]]
    save_file(weights, model / "model.safetensors", {"format": "pt"})


def with_nothing_finite(model: Path) -> None:
    """Spoil the weights, so that every loss is NaN."""
    weights = load_file(model / "model.safetensors")
    save_file({name: weight * float("nan") for name, weight in weights.items()}, model / "model.safetensors")


def cut_short(model: Path) -> None:
    """Cut the weights' file, as a copy that was broken off has it."""
    whole = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(whole[:-1000])


def unreadable(folder: Path) -> dict[str, Any]:
    """Return a run whose clients' data are no JSON in the fifth line."""
    for name in ("train", "public", "test"):
        rows = [json.dumps({"question": f"{name} {i}", "answer": f"a{i}"}) for i in range(8)]
        if name == "train":
            rows[4] = '{"question": \udcff'.encode("utf-8", "surrogateescape").decode("latin-1")
        (folder / f"{name}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    files = {name: f"{name}.jsonl" for name in ("train", "public", "test")}
    data = tiny(task={"kind": "files", "partition": {"by": "iid"}, **files})
    for client in data["clients"]:
        client["domains"] = []
    return data


def attack() -> harness.Count:
    """Try a model that is missing, cut or incomplete, data that cannot be read, and a death in round 2."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        attempt = Attempt(folder)
        missing = broken_model(folder, shutil.rmtree)
        attempt.run("missing", missing, 2, "error: clients.clinic.model: cannot load", "there is no such folder")
        attempt.run("cut", broken_model(folder, cut_short), 2, "error: clients.clinic.model: cannot load")
        attempt.run("unreadable", unreadable(folder), 2, "train.jsonl, line 5: not valid JSON")
        if (folder / "runs").exists():
            attempt.wrong.append("a run has a folder that could have been refused before it")
        lacking = broken_model(folder, without_a_weight)
        for workers in (0, 1):
            told = "error: client 'clinic': model: "
            attempt.run(f"lacking-{workers}", lacking | {"workers": workers}, 2, told, "lacks the weights")
        nan = broken_model(folder, with_nothing_finite) | {"host": "standalone", "plugin": "none"}
        attempt.run("nan", nan, 1, "1 of 1 step was skipped", "client 'clinic'", "optimisation.learning_rate")
        alone = tiny(**STANDALONE)
        for key in ("allocator", "objective"):
            del alone[key]
        again = "continue with: lada run"
        with dying("clinic", 2):
            attempt.run("dies", alone, 1, "client 'clinic': failed (reference", "what was computed is kept", again)
        attempt.run("dies", alone, 0, "report:", more=("--resume",))
        half = alone | {"quorum": 0.5}
        for more, code in (((), 3), (("--allow-missing",), 0)):
            with dying("clinic", 2) if code == 3 else nullcontext():
                lost = "lost on the way: clinic in round 2"
                attempt.run("half", half, code, lost, more=("--resume", *more))
        print(*attempt.wrong, sep="\n")
        outcome = "Its own error ends the run with code 2, and its death with code 1, or with 3 if a quorum continues."
        return harness.Count(attempt.tried, len(attempt.wrong), outcome)


if __name__ == "__main__":
    harness.main(attack)
