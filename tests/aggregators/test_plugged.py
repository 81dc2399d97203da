"""An aggregator of one's own: state across rounds, an option, and a result that differs per client."""

from collections.abc import Iterator
from pathlib import Path as FilePath

import numpy as np
import pytest
from actors import make_party
from own_methods import registered
from pydantic import ValidationError

from lada.codecs import adapters
from lada.rounds.averaging import ADAPTER, aggregate_updates
from lada.rounds.options import AveragingOptions, SecureOptions


@pytest.fixture
def plugged() -> Iterator[None]:
    with registered("keep"):
        yield


def test_it_has_state_and_gives_each_client_its_own(plugged: None, tmp_path: FilePath):
    server = make_party("llm", set(), tmp_path)
    options = AveragingOptions.model_validate({"aggregation": {"name": "keep", "options": {"keep": 0.25}}})
    told = ({"a": 4.0, "b": 0.0}, {"b": 8.0})  # the means of the two rounds are 2 and 8, so 5 over both
    expected = ({"a": 0.25 * 4 + 0.75 * 2, "b": 0.75 * 2}, {"b": 0.25 * 8 + 0.75 * 5})
    for round, (values, each) in enumerate(zip(told, expected, strict=True), 1):
        replies = {
            client: {ADAPTER: adapters.encode({"w": np.array([value], np.float32)}, 1)}
            for client, value in values.items()
        }
        pooled = aggregate_updates(server, replies, round, options)
        shared = pooled.shared(server, pooled.newest(server))
        found = {
            client: adapters.decode(parts[ADAPTER], limit=1000)[0]["w"].tolist() for client, parts in shared.items()
        }
        assert found == {client: [value] for client, value in each.items()}
    assert int(server.states["aggregator/keep/run"]["count"]) == 2


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ("kep", "aggregator: unknown name 'kep'.*did you mean 'keep'"),
        (
            {"name": "keep", "options": {"keep": 2.0}},
            "options.keep: 2.0 is not valid; expected a number of at most 1",
        ),
        ({"name": "keep", "options": {"kep": 0.5}}, "options.kep: unknown key .its value is 0.5.*did you mean 'keep'"),
    ],
)
def test_what_cannot_be_is_refused(plugged: None, named: object, why: str):
    with pytest.raises(ValidationError, match=why):
        AveragingOptions.model_validate({"aggregation": named})


def test_only_the_mean_goes_with_secure_aggregation(plugged: None):
    with pytest.raises(ValidationError, match="secure_aggregation is true and aggregation is 'keep'"):
        SecureOptions.model_validate({"secure_aggregation": True, "aggregation": "keep", "malicious": 0, "clip": None})
