"""The configuration of a run that takes a few seconds, for tests and attacks."""

from typing import Any


def tiny(**changes: Any) -> dict[str, Any]:
    """Return a run of two clients on the built-in corpus, one step a study and a handful of questions."""
    study = {"steps": 1, "batch_size": 4}
    return {
        "name": "tiny",
        "rounds": 1,
        "workers": 0,
        "task": {"kind": "rulebooks", "public": 6, "private": 6, "test_per_domain": 1, "replay": 2},
        "server": {"model": {"model": "zoo:slm-gpt2", "max_new_tokens": 8}, "distil": study},
        "clients": [
            {
                "name": name,
                "domains": [name],
                "model": {"model": f"zoo:{model}", "max_new_tokens": 8},
                "private": study,
                "distil": study,
            }
            for name, model in (("warehouse", "slm-llama"), ("clinic", "slm-olmo2"))
        ],
        "allocator": "all",
        "objective": "sft",
    } | changes
