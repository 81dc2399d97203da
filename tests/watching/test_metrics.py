"""What Prometheus gets: exact numbers over HTTP, names escaped, nobody's text, and a port that is free again."""

import socket
import sys
from pathlib import Path

import httpx
import pytest
from followed import EVENTS, MORE, STARTED, folder
from prometheus_client.parser import text_string_to_metric_families

from lada.core.errors import InputError
from lada.watching.metrics import served
from lada.watching.watch import Watch


def fetch(run: Path, host: str = "127.0.0.1") -> str:
    with served(Watch(run).look, host, 0) as port:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)
        assert answer.headers["content-type"].startswith("text/plain")
        text = answer.text
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", port))
    return text


def samples(text: str) -> dict[tuple[str, ...], float]:
    """Return values by name and the labels' values, `run` first and the others sorted by label."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            rest = [value for label, value in sorted(sample.labels.items()) if label != "run"]
            found[sample.name, sample.labels["run"], *rest] = sample.value
    return found


def test_the_figures_of_a_run(tmp_path: Path) -> None:
    got = samples(fetch(folder(tmp_path / "demo", EVENTS + MORE)))
    loss = got.pop(("lada_party_loss", "demo", "a", "private"))
    assert loss != loss
    assert got == {
        **{("lada_run_state", "demo", state): 0.0 for state in ("waiting", "running", "failed", "stopped")},
        ("lada_run_state", "demo", "finished"): 1.0,
        ("lada_run_round", "demo"): 1.0,
        ("lada_run_rounds", "demo"): 2.0,
        ("lada_run_elapsed_seconds", "demo"): 16.0,
        ("lada_party_round", "demo", "llm"): 0.0,
        ("lada_party_round", "demo", "a"): 1.0,
        ("lada_party_round", "demo", "b"): 1.0,
        ("lada_party_last_seen_timestamp_seconds", "demo", "llm"): STARTED + 13.0,
        ("lada_party_last_seen_timestamp_seconds", "demo", "a"): STARTED + 13.0,
        ("lada_party_sent_bytes_total", "demo", "llm"): 33.0,
        ("lada_party_sent_bytes_total", "demo", "a"): 1100.0,
        ("lada_party_sent_bytes_total", "demo", "b"): 0.0,
        ("lada_party_received_bytes_total", "demo", "llm"): 1100.0,
        ("lada_party_received_bytes_total", "demo", "a"): 11.0,
        ("lada_party_received_bytes_total", "demo", "b"): 22.0,
        ("lada_party_missing_total", "demo", "llm"): 0.0,
        ("lada_party_missing_total", "demo", "a"): 0.0,
        ("lada_party_missing_total", "demo", "b"): 1.0,
        ("lada_party_tokens_total", "demo", "llm"): 0.0,
        ("lada_party_tokens_total", "demo", "a"): 590.0,
        ("lada_party_tokens_total", "demo", "b"): 0.0,
        ("lada_party_accuracy_ratio", "demo", "a", "overall"): 0.325,
        ("lada_party_accuracy_ratio", "demo", "a", "own"): 0.75,
        ("lada_party_accuracy_ratio", "demo", "llm", "overall"): 0.6,
    }


def test_no_text_of_a_notice_or_a_failure_is_in_it(tmp_path: Path) -> None:
    text = fetch(folder(tmp_path / "demo", EVENTS + MORE))
    assert "halved" not in text
    assert "silent" not in text


def test_names_are_escaped(tmp_path: Path) -> None:
    name = 'Ö "quoted" {x}\\y'
    events = [{**EVENTS[0], "clients": [name]}, {**EVENTS[5], "party": name}]
    got = samples(fetch(folder(tmp_path / 'a "run"', events)))
    assert got["lada_party_sent_bytes_total", 'a "run"', name] == 100.0


def test_a_run_without_events_has_its_state(tmp_path: Path) -> None:
    got = samples(fetch(folder(tmp_path / "demo", [])))
    assert got.pop(("lada_run_elapsed_seconds", "demo")) > 0
    assert {key[2] for key, value in got.items() if value} == {"waiting"}
    assert len(got) == 5


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    watch = Watch(folder(tmp_path / "demo", EVENTS))
    with (
        served(watch.look, "127.0.0.1", 0) as port,
        pytest.raises(InputError, match=f"--metrics: cannot listen at '127.0.0.1', port {port} "),
        served(watch.look, "127.0.0.1", port),
    ):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="needs a second address of loopback")
def test_it_is_for_this_machine_unless_said_otherwise(tmp_path: Path) -> None:
    look = Watch(folder(tmp_path / "demo", EVENTS)).look
    with (
        served(look, "127.0.0.1", 0) as port,
        socket.socket() as other,
        pytest.raises(ConnectionRefusedError),
    ):
        other.connect(("127.0.0.2", port))


def test_without_the_package_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with (
        pytest.raises(InputError, match=r"pip install 'lada-fed\[metrics\]'"),
        served(Watch(folder(tmp_path / "demo", EVENTS)).look, "127.0.0.1", 0),
    ):
        pass


@pytest.mark.parametrize("host", ["a" * 300, "a..b", "no.such.host.invalid"])
def test_an_address_that_is_none_is_refused(host):
    pytest.importorskip("prometheus_client")
    with pytest.raises(InputError, match=r"^--metrics: cannot listen at .*--host"), served(lambda: None, host, 0):  # pyright: ignore[reportArgumentType]
        pass
