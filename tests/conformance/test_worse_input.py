"""More bad input for the methods of the suite `neighbours`, refused before anything is opened, with key and value."""

import math
from typing import Any

import pytest
from tiny_run import tiny

from lada.config import make_config
from lada.core.errors import InputError

PATHS = {"name": "fedmkt", "options": {"knowledge": "paths"}}
DOWN = {"name": "fedmkt", "options": {"knowledge": "paths", "directions": "llm_to_slm"}}
PEERS = {"name": "fedmd", "options": {"llm_member": False}}
MUTE = ["answer", "judge", "explain", "embed", "read", "study"]
CLASSES = {"kind": "digits", "public": 20, "private": 20, "test_per_domain": 5}


def lm(silent: str = "", **changes: Any) -> dict[str, Any]:
    """Return a run of language models, of whom `silent` gives no log-probs."""
    made = tiny(**{"plugin": "none", **changes})
    for party in (made["server"], *made["clients"]):
        if party.get("name", "llm") == silent:
            party["model"]["verbs"] = MUTE
    return made


def api(**changes: Any) -> dict[str, Any]:
    made = lm(host=DOWN, **changes)
    made["server"]["model"] = {"api": {"base_url": "http://127.0.0.1:9/v1", "model": "big", "key_variable": None}}
    return made


def classes(task: dict[str, Any] | None = None, labels: Any = None, **changes: Any) -> dict[str, Any]:
    """Return a run of classifiers, whose `labels` are given to all of them."""
    model = {"learner": "mlp"} | ({} if labels is None else {"options": {"labels": labels}})
    study = {"steps": 1, "batch_size": 4}
    return {
        "name": "classes",
        "rounds": 1,
        "plugin": "none",
        "host": PATHS,
        "task": CLASSES | (task or {"domains": ["plain"]}),
        "server": {"model": model, "distil": study},
        "clients": [{"name": "a", "model": model, "private": study, "distil": study}],
        **changes,
    }


def party(made: dict[str, Any], number: int, **changes: Any) -> dict[str, Any]:
    """Return a run with changes of client `number`, or of the server (-1)."""
    (made["server"] if number < 0 else made["clients"][number]).update(changes)
    return made


def options(name: str, **values: Any) -> dict[str, Any]:
    return {"name": name, "options": values}


def cannot(who: str, verb: str = "log_probs") -> str:
    return rf"needs a learner that can .*{verb}.*, but that of '{who}' cannot"


SILENT = {
    "on-policy distillation": (lm("llm", objective="on_policy", host=PATHS), cannot("llm")),
    "two divergences": (lm("llm", objective="distillm2", host=PATHS), cannot("llm")),
    "chunks": (lm("llm", objective="alm", host=PATHS), cannot("llm")),
    "a sum": (lm("llm", objective=[options("sft"), options("taid")], host=PATHS), cannot("llm")),
    "a client as teacher": (party(lm("clinic", host=PATHS), -1, objective="bd_kd"), cannot("clinic")),
    "one client's own objective": (party(lm("llm", host=PATHS), 0, objective="pld"), cannot("llm")),
    "a member of FedMD": (lm("clinic", host=PEERS, objective="soft_targets"), cannot("clinic")),
    "a member of FedDF": (lm("clinic", host="feddf", objective="soft_targets"), cannot("clinic")),
    "FedCoLLM": (lm("llm", host="fedcollm", objective="soft_targets"), cannot("llm")),
    "an API": (api(objective="sinkd"), "with scores and a tokenizer it has log_probs"),
    "a party of no verbs": (
        party(lm(), 0, model={"model": "zoo:slm-llama", "verbs": []}),
        cannot("warehouse", "answer"),
    ),
}
ONE_CLASS = {
    "one label": (classes(labels=["1"]), "too few labels to tell apart"),
    "no label": (classes(labels=[]), "labels"),
    "a label twice": (classes(labels=["1", "1"]), "'1' is named twice"),
    "an empty label": (classes(labels=["1", ""]), "'' is no label"),
    "two labels that look alike": (classes(labels=["1", "1 "]), "'1 ' is no label"),
    "an unknown set of labels": (classes(labels="letters"), "letters"),
    "three classes a client": (classes({"split": "classes", "classes": 3}), "task.classes: 3 is not valid"),
    "no class a client": (classes({"split": "classes", "classes": 0}), "task.classes: 0 is not valid"),
    "no spread": (classes({"split": "dirichlet", "alpha": 0, "domains": ["plain"]}), "task.alpha: 0 is not valid"),
    "a domain of another kind": (classes({"domains": ["0"]}), "task.domains.0: '0' is not valid"),
}
TOO_MANY = {
    "no token": (lm(objective=options("taid", k=0)), "k is 0; expected 1 to"),
    "fewer than none": (lm(objective=options("pld", k=-1)), "k is -1; expected 1 to"),
    "a thousand million": (lm(objective=options("sinkd", k=10**9)), "k is 1000000000; expected 1 to"),
    "a part of a token": (lm(objective=options("bd_kd", k=2.5)), r"k: 2\.5 is not valid"),
    "yes": (lm(objective=options("ofa_kd", k=True)), "k: True is not valid"),
    "a text": (lm(objective=options("sinkd", k="8")), "k: '8' is not valid"),
    "too many, of classes": (classes(objective=options("taid", k=10**6)), "k is 1000000; expected 1 to"),
    "too many, of a prediction": (lm(allocator=options("pcoreset", tokens=10**6)), "tokens: 1000000 is not valid"),
    "too many exits": (lm(objective=options("ofa_kd", depths=[0.1] * 9)), "depths is"),
    "too many positions": (lm(objective=options("sinkd", positions=10**6)), "positions: 1000000 is not valid"),
}
EMPTY = {
    "no centre": (lm(allocator=options("edgefd", centres=0)), "centres: 0 is not valid"),
    "too many centres": (lm(allocator=options("edgefd", centres=10**6)), "centres: 1000000 is not valid"),
    "no radius": (lm(allocator=options("edgefd", quantile=0)), "quantile: 0 is not valid"),
    "an unknown radius": (lm(allocator=options("edgefd", quantile=math.nan)), "quantile: nan is not valid"),
    "a policy without a centre": (party(lm(), 0, policies=[options("edgefd", centres=0)]), "centres: 0 is not valid"),
    "a policy without a radius": (party(lm(), 0, policies=[options("edgefd", quantile=2)]), "quantile: 2 is not valid"),
    "groups of nothing": (lm(allocator=options("edgefd", groups="words")), "groups: 'words' is not valid"),
    "nobody's data": (lm(allocator="edgefd", task={"kind": "rulebooks", "private": 0}), "task.private: 0 is not valid"),
    "no questions": (lm(allocator="edgefd", task={"kind": "rulebooks", "public": 0}), "task.public: 0 is not valid"),
    "classifiers": (classes(allocator=options("edgefd", centres=0)), "centres: 0 is not valid"),
}
NOTHING_KEPT = {
    "no calls": (lm(augmenter=options("pgkd", calls=0)), "calls: 0 is not valid"),
    "no samples": (lm(augmenter=options("pgkd", most=0)), "most: 0 is not valid"),
    "no questions": (lm(augmenter=options("symbolic_kd", new=0)), "new: 0 is not valid"),
    "no recall": (lm(augmenter=options("symbolic_kd", recall=0)), "recall: 0 is not valid"),
    "more agreement than there is": (lm(augmenter=options("pgkd", agreement=2)), "agreement: 2 is not valid"),
    "one path": (lm(augmenter=options("symbolic_kd", paths=1)), "paths: 1 is not valid"),
    "a host without public samples": (lm(augmenter="symbolic_kd", host="standalone"), "no step of the host works on"),
    "no budget": (lm(allocator=options("pcoreset", budget=0)), "budget is 0"),
    "a density of nothing": (lm(codecs=[options("flasc", up=0)]), "up: 0 is not valid"),
    "a tier of nothing": (lm(codecs=[options("flasc", tiers_down={"clinic": 0})]), "tiers_down.clinic: 0 is not valid"),
    "a fuser without a host": (lm(fuser="knfu", host=PATHS), "host 'fedmkt' does not average any"),
    "momentum for ever": (
        lm(host=options("fedavg", aggregation=options("fedopt", beta1=1.0))),
        r"beta1: 1\.0 is not valid",
    ),
}
GARBAGE = {
    "a classifier writes no questions": (classes(augmenter="symbolic_kd"), cannot("llm", "explain")),
    "nor by a report": (classes(augmenter="pgkd"), cannot("llm", "explain")),
    "nor under FedMD": (classes(augmenter="pgkd", host="fedmd", objective="soft_targets"), cannot("llm", "explain")),
    "an LLM that may not explain": (
        party(lm(augmenter="pgkd", host=DOWN), -1, model={"model": "zoo:slm-gpt2", "verbs": ["answer"]}),
        cannot("llm", "explain"),
    ),
    "an instruction of a book": (lm(augmenter=options("pgkd", instruction="x" * 5000)), "instruction"),
    "questions of a book": (lm(augmenter=options("pgkd", chars=10**9)), "chars: 1000000000 is not valid"),
    "no temperature": (lm(augmenter=options("symbolic_kd", temperature=0)), "temperature: 0 is not valid"),
    "an endless temperature": (lm(augmenter=options("pgkd", temperature=math.inf)), "temperature: inf is not valid"),
    "an unknown witness": (lm(augmenter=options("pgkd", verify="trust")), "verify: 'trust' is not valid"),
    "no examples": (lm(augmenter=options("symbolic_kd", shots=0)), "shots: 0 is not valid"),
}
CASES = [
    pytest.param(*case, id=f"{kind}: {name}")
    for kind, cases in {
        "no log-probs": SILENT,
        "one class": ONE_CLASS,
        "k above the vocabulary": TOO_MANY,
        "an empty cluster": EMPTY,
        "nothing kept": NOTHING_KEPT,
        "garbage": GARBAGE,
    }.items()
    for name, case in cases.items()
]


@pytest.mark.parametrize(("run", "why"), CASES)
def test_it_is_refused_and_says_why(run: dict[str, Any], why: str):
    with pytest.raises(InputError, match=why):
        make_config(run)
