"""A codec in one file outside the package: chosen by name, its residual kept, and every room reads it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from actors import make_party
from own_methods import registered
from test_resume import Crash, crash_at, outcome
from tiny_run import tiny

import lada
from lada.audit.audit import audit
from lada.codecs.adapters import Adapter
from lada.codecs.base import CODECS, Codecs
from lada.config import make_config
from lada.core.arrays import bytes_to_arrays
from lada.core.errors import CodecError, InputError
from lada.engines.client_file import ClientFile, merge_terms
from lada.federation import party_cache
from lada.federation.parties import STATE
from lada.federation.terms import ExpectedClient, Terms
from lada.points import chosen_points
from lada.rounds.checks import check_parts
from lada.rounds.wire import part, write

NAME = "int8_adapter"


@pytest.fixture(scope="module", autouse=True)
def codec() -> Iterator[Any]:
    """Let the run know the file's codec, for these tests alone."""
    with registered(NAME) as modules:
        yield modules[NAME]


def config(**changes: Any) -> dict[str, Any]:
    """Return two clients with one model, whose adapters are averaged in two rounds."""
    made = tiny(host="fedavg", plugin="none", rounds=2, codecs=[NAME], keep_messages=True, **changes)
    del made["allocator"], made["objective"]
    for client in made["clients"]:
        client["model"] |= {"model": "zoo:slm-llama", "tune": "lora"}
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, int]:
    """Give results and folder of a whole run, and how many files of checkpoints and journal it put in place."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        writes = crash_at(10**6, patch)
        return lada.run(config(), runs=folder), folder / "tiny", writes[0]


def codecs() -> Codecs:
    method = CODECS.get(NAME)
    return Codecs({NAME: method.make(method.options())})


def test_what_rounding_leaves_over_is_sent_next(tmp_path: Path):
    party = make_party("a", set(), tmp_path)
    party.codecs = codecs()
    received = np.zeros(2)
    weights = np.array([1.27, 0.004], np.float32)  # steps of 0.01, of which the second weight is two fifths
    for time in range(1, 6):
        data = write(party, "adapter", Adapter({"w": weights}, 3))
        told = part(party, {"adapter": data}, "adapter")
        assert told.samples == 3
        received += told.weights["w"]
        assert np.abs(received - time * weights).max() <= 0.0051
        assert np.abs(party.states["codec/int8_adapter/a"]["w"] - (time * weights - received)).max() < 1e-6
    assert np.abs(received - 5 * weights).max() < 1e-5  # without the residual the second weight would never arrive
    write(party, "adapter", Adapter({"w": weights}, 3), to="b")
    assert party.states.keys() == {"codec/int8_adapter/a", "codec/int8_adapter/b"}


@pytest.mark.parametrize("data", [b"", b"{}", b"x" * 100])
def test_other_bytes_are_refused(tmp_path: Path, data: bytes, codec: Any):
    party = make_party("llm", set(), tmp_path)
    as_usual = write(party, "adapter", Adapter({"w": np.ones(2, np.float32)}, 1))
    party.codecs = codecs()
    for wrong in (data, as_usual):
        with pytest.raises(CodecError, match="int8: "):
            check_parts(party, "a", 1, {"adapter": wrong})
    wide = codec.write({"w": np.ones(2, np.int8), "scale of w": np.array(np.float32(np.inf))}, {"kind": "int8"})
    with pytest.raises(CodecError, match="a scale that is none"):
        check_parts(party, "a", 1, {"adapter": wide})


def test_a_run_sends_what_the_plan_expects(run: tuple[Any, Path, int]):
    results, folder, _ = run
    plan = lada.plan(config())
    sent, expected = (
        sum(row.bytes for row in each if row.kind == "adapter") for each in (results.traffic, plan.traffic)
    )
    assert 0 < expected < sent < 1.6 * expected  # names and scales are beside the numbers, and the model is tiny
    found = audit(folder)
    assert all(client.searched is not None and client.searched.unread == 0 for client in found.clients)


def test_the_residual_is_in_the_checkpoints(run: tuple[Any, Path, int]):
    _, folder, _ = run
    for party in ("llm", "clinic", "warehouse"):
        state = next(file for file in sorted(folder.rglob(STATE)) if party in file.relative_to(folder).parts)
        arrays = bytes_to_arrays(state.read_bytes())
        left = [array for name, array in arrays.items() if name.startswith(f"codec/{NAME}/{party}|")]
        assert any(array.any() for array in left)


@pytest.mark.parametrize("share", [pytest.param(0.5, marks=pytest.mark.slow), 0.9])
def test_a_run_that_is_broken_off_goes_on_to_the_same_bits(
    run: tuple[Any, Path, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: float
):
    results, _, writes = run
    party_cache.forget()
    with monkeypatch.context() as patch:
        crash_at(int(share * writes), patch)
        with pytest.raises(Crash):
            lada.run(config(), runs=tmp_path)
    party_cache.forget()
    assert outcome(lada.run(config(), runs=tmp_path, resume=True)) == outcome(results)


def test_two_codecs_of_one_kind_are_refused():
    with pytest.raises(InputError, match=r"codecs: 'int8_adapter' and 'adapter' both carry 'adapter'; expected one"):
        make_config(config() | {"codecs": [NAME, "adapter"]})
    with pytest.raises(InputError, match=r"codecs: .* is named twice; name each codec once"):
        make_config(config() | {"codecs": [NAME, NAME]})
    with pytest.raises(InputError, match=r"did you mean 'int8_adapter'\?"):
        make_config(config() | {"codecs": ["int8_adaptr"]})


def test_a_client_of_a_deployment_has_the_servers_codecs():
    client = ClientFile.model_validate(
        {
            "name": "a",
            "superlink": "x:1",
            "model": {"model": "zoo:slm-llama", "tune": "lora"},
            "task": {"kind": "rulebooks"},
        }
    )
    resolved: Any = make_config(config())
    methods = {point.key: getattr(resolved, point.key) for point in chosen_points() if point.agreed}
    terms = Terms(
        run="r", started=0.0, seed=0, rounds=1, server="llm", clients=(ExpectedClient(name="a", domains=()),),
        public="0" * 64, test="0" * 64, **methods,
    )  # fmt: skip
    assert merge_terms(client, Terms.model_validate_json(terms.model_dump_json())).choices(CODECS) == resolved.choices(
        CODECS
    )
    assert "codecs" not in terms.model_copy(update={"codecs": ()}).model_dump_json()
