"""Aggregators by name, over plain weights."""

from collections.abc import Mapping

from lada.aggregators.base import AGGREGATORS, Aggregator, Update, Weights


def rule(name: str, malicious: int = 1) -> Aggregator:
    """Return an aggregator; the mean without bounds."""
    method = AGGREGATORS.get(name)
    clip = {"clip": None} if "clip" in method.options.model_fields else {}
    return method.make(method.options.model_validate({"malicious": 0 if clip else malicious, **clip}))


def aggregate(weights: Mapping[str, Weights], samples: Mapping[str, int], name: str, malicious: int) -> Weights:
    """Return what the clients' weights have in common."""
    updates = {client: Update(own, samples[client]) for client, own in weights.items()}
    _, found = rule(name, malicious).aggregate({}, updates)
    assert set(found.by_client) == set(found.clipped) == set(weights)
    return found.weights
