"""Exposure of a planted secret, by ranks that can be counted."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from lada.audit import exposure as module
from lada.audit.exposure import CANDIDATES, Secret, exposure, exposures, measure, read_secrets
from lada.audit.verdict import Audit, Exposure
from lada.cli.audit import told
from lada.config import make_config
from lada.core.errors import InputError
from lada.core.terms import Likelihood

SECRET = Secret(question="what is the code ?", text="the code is {47-ab} now")


def losses_of_rank(rank: int) -> np.ndarray:
    """Return 1024 losses; the first is the `rank`-th smallest."""
    others = np.delete(np.arange(1, CANDIDATES + 1), rank - 1)
    return np.array([rank, *others], np.float64)


@pytest.mark.parametrize(("rank", "bits"), [(1, 10.0), (512, 1.0), (1024, 0.0)])
def test_exposure_by_rank(rank: int, bits: float):
    assert exposure(losses_of_rank(rank)) == (rank, pytest.approx(bits, abs=1e-5))


def test_a_model_to_which_all_are_the_same_exposes_nothing():
    assert exposure(np.zeros(CANDIDATES))[0] == 512.5
    assert exposure(np.full(CANDIDATES, np.nan))[1] == pytest.approx(1.0, abs=0.01)
    assert exposure(np.array([np.nan, 1.0, 2.0, 3.0])) == (4.0, 0.0)  # a text without a loss is the least likely


def test_candidates_have_the_form_of_the_secret_and_are_distinct():
    texts = SECRET.candidates(np.random.default_rng(0))
    assert texts[0] == "the code is 47-ab now"
    assert len(set(texts)) == CANDIDATES
    for text in texts:
        assert text.startswith("the code is ")
        assert text.endswith(" now")
        digits, letters = text.removeprefix("the code is ").removesuffix(" now").split("-")
        assert digits.isdigit()
        assert letters.isalpha()
        assert letters.islower()
        assert len(digits) == len(letters) == 2


def test_each_secret_is_measured_among_its_own_candidates_and_not_named():
    secrets = [SECRET, Secret(question="", text="{9999}")]
    asked: list[Any] = []

    def losses(pairs: Any) -> np.ndarray:
        asked.append(pairs)
        return losses_of_rank(1 if len(asked) == 1 else 256)

    first, second = measure(secrets, "llm", 3, losses)
    assert (first.bits, second.bits) == (10.0, 2.0)
    assert (first.party, first.secret, second.secret, first.candidates) == ("llm", "secret 1", "secret 2", CANDIDATES)
    assert asked[0][0] == ("what is the code ?", "the code is 47-ab now")
    again = list(asked)
    measure(secrets, "slm", 3, losses)
    assert asked[2:] == again  # all parties are asked for the same


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"question": "q", "text": "no secret"}', "text: it has no secret in braces"),
        ('{"question": "q", "text": "{4711} {4711}"}', "text: it has no secret in braces"),
        ('{"question": "q", "text": "{471}"}', "text: fewer than 1024 secrets"),
        ('{"question": "q", "text": "{}"}', "text: fewer than 1024 secrets"),
        ('{"question": "q", "text": "{----------}"}', "text: fewer than 1024 secrets"),
        ('{"text": "{4711}"}', "question: Field required"),
        ('["{4711}"]', "valid dictionary"),
        ("4711", "valid dictionary"),
        ("not JSON {4711}", "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        (json.dumps({"question": "q", "text": "x" * 20_000 + "{4711}"}), "at most 10000"),
    ],
)
def test_another_file_is_refused_without_repeating_it(tmp_path: Path, line: str, why: str):
    file = tmp_path / "secrets.jsonl"
    file.write_text('{"question": "q", "text": "{1234}"}\n' + line, encoding="utf-8")
    with pytest.raises(InputError, match=why) as told:
        read_secrets(file)
    assert "4711" not in str(told.value).replace("the code is {4711}", "").replace("such as {4711}", "")
    assert "line 2" in str(told.value)


def test_a_file_of_nothing_is_refused(tmp_path: Path):
    for file in (tmp_path, tmp_path / "none", tmp_path / "empty"):
        if file.name == "empty":
            file.write_text("\n")
        with pytest.raises(InputError, match="--exposure"):
            read_secrets(file)


def test_the_server_and_all_clients_are_measured_and_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file, closed = tmp_path / "secrets.jsonl", []
    file.write_text(json.dumps({"question": "q", "text": "{1234}"}), encoding="utf-8")

    def party(name: str) -> Any:
        """Return a party whose model knows the secret, unless it is the server's."""

        def judge(pairs: Any) -> list[Likelihood]:
            return [Likelihood(-1.0 if text == "1234" and name != "llm" else -2.0, -1.0, 4, 4) for _, text in pairs]

        return SimpleNamespace(name=name, learner=SimpleNamespace(judge=judge))

    monkeypatch.setattr(module, "read_task", lambda config, base: None)
    monkeypatch.setattr(module, "server_party", lambda *_: party("llm"))
    monkeypatch.setattr(module, "client_party", lambda *given: party(given[-1]))
    monkeypatch.setattr(module, "let_go", lambda party: closed.append(party.name))
    model = {"model": "zoo:slm-llama"}
    config = make_config({"server": {"model": model}, "clients": [{"name": n, "model": model} for n in ("b", "a")]})
    found = exposures(config, SimpleNamespace(base=tmp_path), file)  # pyright: ignore[reportArgumentType]
    assert [(one.party, one.rank) for one in found] == [("llm", 512.5), ("a", 1.0), ("b", 1.0)]
    assert closed == ["llm", "a", "b"]


def test_it_is_shown_and_leaves_the_verdict_as_it_is():
    one = Exposure(party="llm", secret="secret 1", rank=1.0, candidates=1024, bits=10.0)
    audit = Audit(run="r", canaries=0, clients=(), exposures=(one,))
    assert audit.passed
    console = Console(width=100, record=True)
    for part in told(audit):
        console.print(part)
    assert "secret 1 │ 10.00 │    1 │      1,024" in console.export_text()
