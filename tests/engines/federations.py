"""A small federation for the tests: two clients of the built-in corpus, seconds of work."""

import yaml
from test_resume import config


def small(**changes):
    """One round; clients' studies of one step."""
    return config() | {"rounds": 1} | changes


def write(folder, **changes):
    """Write the configuration of a small run and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(small(**changes)), encoding="utf-8")
    return file


def change(file, **changes):
    """Change keys of a YAML file."""
    data = yaml.safe_load(file.read_text(encoding="utf-8"))
    file.write_text(yaml.safe_dump(data | changes), encoding="utf-8")


def comparable(results):
    """Return what runs of all engines share: not what needs the parties' files in one place."""
    data = results.model_dump(mode="json")
    for key in ("wall_clock", "traffic", "config", "environment", "shown"):
        del data[key]
    for evaluation in data["evaluations"]:
        for name in ("agreement", "fidelity", "self_bleu"):
            evaluation.pop(name, None)  # the last two are omitted from JSON if they are unknown
    return data
