"""The server looks for private rationales in the texts of a client that has memorised its ten samples.

Each of two clients is trained for 900 steps on ten samples, once; then it takes part in every framework that exchanges
anything, with default options. All that left it is searched by code that compares word by word and knows nothing of the
filter's index.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from harness import Count, main

import lada
from lada.audit.layers import spelled
from lada.codecs import paths, vocabulary
from lada.core.errors import CodecError
from lada.core.terms import Sample
from lada.federation import last_reply
from lada.federation.parties import read_task
from lada.federation.run_folder import read as read_run

sys.path.append(str(Path(__file__).parents[1] / "hosts"))
from slow_passages import distinctive, holds

CLIENTS: tuple[str, ...] = ("ann", "bob")
LORA = {"tune": "lora", "lora": {"rank": 4}}
HOSTS = {
    "fedmkt": ({"host": "fedmkt", "plugin": "lada"}, {}),
    "fedmkt-labels": ({"host": "fedmkt", "plugin": "none"}, {}),
    "fedcot": ({"host": "fedcot", "plugin": "none"}, {}),
    "fedmd": ({"host": "fedmd", "plugin": "none"}, {}),
    "fedavg": ({"host": "fedavg", "plugin": "none"}, {}),
    "fedcollm": ({"host": "fedcollm", "plugin": "none"}, LORA),
    "feddf": ({"host": "feddf", "plugin": "none"}, LORA),
    "public_sft": ({"host": "public_sft", "plugin": "none"}, {}),
}
ALIKE = {"fedavg", "fedcollm", "feddf"}
"""Clients of these have one model: that of the first."""
WITHHOLD: dict[str, object] = {}
"""Put `{"withhold": None}` here to see what left without the filter."""


def config(name: str, models: dict[str, str], steps: int, **more: object) -> dict[str, object]:
    study = {"batch_size": 4, "steps": steps}
    return {
        "name": name,
        "rounds": 1,
        "workers": 0,
        "keep_messages": True,
        "task": {
            "kind": "rulebooks",
            "public": 45,
            "private": 10,
            "test_per_domain": 1,
            "replay": 4,
            "gold": "answers",
        },
        "server": {"model": {"model": "zoo:slm-llama", "max_new_tokens": 48}, "distil": {"batch_size": 4, "steps": 1}},
        "clients": [
            {
                "name": client,
                "domains": ["clinic"],
                "model": {"model": model, "max_new_tokens": 48},
                "private": study,
                "distil": {"batch_size": 4, "steps": 1},
                **WITHHOLD,
            }
            for client, model in models.items()
        ],
        **more,
    }


def attack() -> Count:
    counts = {"texts": 0, "sampled_again": 0, "withheld": 0, "scores": 0, "found": 0}
    with TemporaryDirectory() as place:
        runs = Path(place)
        lada.run(
            config("learn", dict.fromkeys(CLIENTS, "zoo:slm-gpt2"), 899, host="standalone", plugin="none"), runs=runs
        )
        models = {client: str(runs / "learn" / "checkpoints" / client / "model") for client in CLIENTS}
        for name, (keys, tune) in HOSTS.items():
            one = dict.fromkeys(CLIENTS, models["ann"])
            made = config(name, one if name in ALIKE else models, 1, **keys)
            for client in made["clients"]:  # pyright: ignore[reportGeneralTypeIssues]
                client["model"] |= tune
            results = lada.run(made, runs=runs)
            for row in results.withheld:
                counts["sampled_again"] += row.sampled_again
                counts["withheld"] += row.withheld
                counts["scores"] += row.scores
            for client in CLIENTS:
                secrets = secrets_of(runs / name, client)
                for text in texts_sent(runs / name, client):
                    counts["texts"] += 1
                    counts["found"] += holds(text, secrets)
    caught = (
        f"{counts['sampled_again']} sampled again, {counts['withheld']} withheld, {counts['scores']} scores withheld"
    )
    return Count(counts["texts"], counts["found"], f"No text that repeats private text leaves the client: {caught}")


def secrets_of(run: Path, client: str) -> set[tuple[str, ...]]:
    made, place = read_run(run)
    task = read_task(made, place.base)
    known = [text for sample in (*task.public, *task.test, *task.replay) for text in of(sample)]
    return distinctive(task.private[client], known)


def of(sample: Sample) -> list[str]:
    return [text for text in (sample.question, sample.rationale, sample.answer) if text]


def texts_sent(run: Path, client: str) -> Iterator[str]:
    """Yield every path, and every text that token scores spell, that left a client."""
    parts = [data for _, data in last_reply.read(run / "clients" / client)]
    words = next((found[0] for data in parts if (found := tried(vocabulary.decode, data))), None)
    for data in parts:
        if knowledge := tried(lambda data: paths.decode(data, known_ids=None), data):
            yield from (path.text for path in knowledge.paths)
        if words and (found := tried(lambda data: list(spelled(data, words)), data)):
            yield from (text.decode("utf-8", "replace") for text in found)


def tried(read, data):
    try:
        return read(data)
    except CodecError:
        return None


if __name__ == "__main__":
    main(attack)
